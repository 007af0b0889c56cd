"""Which licences are accepted, and where they are found."""

from collections.abc import Mapping
from dataclasses import replace
from email.message import Message

import pytest

from tools.licences import BUNDLED, LOOKED_UP, Component, Known, acceptable, contained, findings, stated_licence
from tools.lock import ROOT, shipped

PACKAGE = Component("tea", "tea", "1.0", "MIT")
NOTHING: Mapping[str, Known] = {}


def metadata_with(**headers: str | list[str]) -> Message:
    """The metadata of a package, with these headers."""
    message = Message()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "MIT",
            "BSD-3-Clause",
            "Apache-2.0",
            "MPL-2.0",
            "PSF-2.0",
            "ISC",
            "LGPL-2.1-or-later",
            "PostgreSQL",
            "BSL-1.0",
        ),
        "GPL-2.0-only OR MIT",
        "MIT or Apache-2.0",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "MPL-2.0 AND (Apache-2.0 OR AGPL-3.0-only)",
        "Apache-2.0 WITH LLVM-exception",
    ],
)
def test_an_expression_that_permits_an_accepted_licence_is_accepted(expression: str) -> None:
    assert acceptable(expression)


@pytest.mark.parametrize(
    "expression",
    [
        *("GPL-2.0-only", "GPL-3.0-or-later", "AGPL-3.0-only", "SSPL-1.0", "BUSL-1.1", "Elastic-2.0", "CC-BY-NC-4.0"),
        "MIT AND GPL-3.0-only",
        "MIT AND (GPL-3.0-only OR AGPL-3.0-only)",
        "GPL-2.0-only OR AGPL-3.0-only",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "Proprietary",
    ],
)
def test_an_expression_that_permits_no_accepted_licence_is_refused(expression: str) -> None:
    assert not acceptable(expression)


@pytest.mark.parametrize("expression", ["", "MIT AND", "(MIT", "MIT)", "MIT Apache-2.0", "see the file LICENSE"])
def test_a_text_that_is_not_an_spdx_expression_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match=r"expression|end|bracket"):
        acceptable(expression)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (metadata_with(License_Expression="MIT OR Apache-2.0", License="GPL"), "MIT OR Apache-2.0"),
        (
            metadata_with(Classifier="License :: OSI Approved :: Apache Software License", License="Apache 2"),
            "Apache-2.0",
        ),
        (
            metadata_with(
                Classifier=[f"License :: OSI Approved :: {name} License" for name in ("MIT", "Apache Software")]
            ),
            "MIT AND Apache-2.0",
        ),
        (
            metadata_with(Classifier="License :: OSI Approved :: GNU Affero General Public License v3", License="MIT"),
            "-v3",
        ),
        (metadata_with(Classifier=["License :: OSI Approved", "Topic :: Tea"], License="Apache 2.0"), "Apache-2.0"),
        (metadata_with(License="MIT"), "MIT"),
        (metadata_with(), ""),
    ],
)
def test_the_newest_form_of_a_licence_in_the_metadata_is_used(metadata: Message, licence: str) -> None:
    assert stated_licence(metadata).endswith(licence)
    assert bool(stated_licence(metadata)) == bool(licence)


def test_a_package_under_an_accepted_licence_is_no_finding() -> None:
    assert list(findings([PACKAGE], NOTHING, NOTHING)) == []


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND SSPL-1.0", "a licence of ours"])
def test_a_package_under_a_refused_licence_is_reported_with_it(licence: str) -> None:
    (found,) = findings([replace(PACKAGE, licence=licence)], NOTHING, NOTHING)
    assert found.startswith("tea: ")
    assert licence in found


def test_components_compiled_into_a_package_are_checked_too() -> None:
    bill = {
        "components": [
            {"name": "tea", "version": "1.0"},
            {"name": "leaf", "version": "2.0", "licenses": [{"expression": "MIT OR GPL-2.0-only"}]},
            {"name": "pot", "version": "3.0", "licenses": [{"license": {"id": "AGPL-3.0-only"}}]},
        ]
    }
    components = list(contained("tea", bill))
    assert [component.name for component in components] == ["leaf", "pot"]
    (found,) = findings(components, NOTHING, NOTHING)
    assert found.startswith("pot in tea: ")


def test_a_licence_that_was_looked_up_holds_for_one_version() -> None:
    silent = replace(PACKAGE, licence="")
    assert "look it up" in next(findings([silent], NOTHING, NOTHING))
    assert list(findings([silent], {"tea": Known("1.0", "MIT")}, NOTHING)) == []
    assert "0.9" in next(findings([silent], {"tea": Known("0.9", "MIT")}, NOTHING))
    assert "GPL-3.0-only" in next(findings([silent], {"tea": Known("1.0", "GPL-3.0-only")}, NOTHING))
    assert list(findings([silent], {"tea": Known("1.0", "GPL-3.0-only", excuse="never loaded")}, NOTHING)) == []


def test_the_contents_of_a_package_are_looked_up_for_one_version() -> None:
    assert list(findings([PACKAGE], NOTHING, {"tea": Known("1.0", "PostgreSQL")})) == []
    assert "0.9" in next(findings([PACKAGE], NOTHING, {"tea": Known("0.9", "PostgreSQL")}))
    assert "SSPL-1.0" in next(findings([PACKAGE], NOTHING, {"tea": Known("1.0", "SSPL-1.0")}))
    assert "remove it" in next(findings([PACKAGE], NOTHING, {"coffee": Known("1.0", "MIT")}))


def test_the_tables_name_only_shipped_packages() -> None:
    packages = shipped((ROOT / "uv.lock").read_text())
    assert BUNDLED.keys() <= packages.keys()
    assert LOOKED_UP.keys() & packages.keys()


LOCK = """
[[package]]
name = "server"
version = "0.1.0"
source = { editable = "." }
dependencies = [{ name = "tea", extra = ["milk"] }, { name = "water", marker = "sys_platform == 'win32'" }]

[package.dev-dependencies]
dev = [{ name = "coffee" }]

[[package]]
name = "tea"
version = "1.0"
source = { registry = "r" }
[package.optional-dependencies]
milk = [{ name = "cow" }]
lemon = [{ name = "tree" }]

[[package]]
name = "cow"
version = "2.0"
source = { registry = "r" }

[[package]]
name = "water"
version = "3.0"
source = { registry = "r" }

[[package]]
name = "water"
version = "3.1"
source = { registry = "r" }
"""


def test_shipped_is_what_is_needed_at_run_time_on_any_platform() -> None:
    packages = shipped(LOCK, "server")
    assert {name: set(locked.versions) for name, locked in packages.items()} == {
        "tea": {"1.0"},
        "cow": {"2.0"},
        "water": {"3.0", "3.1"},
    }
