"""Compares `docs/dependencies.md` with the server's dependencies and with the packages in `third_party/`.

The page must have a row for each package, with the version in use.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set

from tools.lock import ROOT, Locked, shipped
from tools.vendored import packages as vendored

PAGE = "docs/dependencies.md"
# The contracts are a package of this repository.
OWN = {"somamesh-contracts"}
COLUMNS = 5


def declared(project: str) -> Set[str]:
    """The packages that a `pyproject.toml` needs at run time."""
    found = (re.match(r"[\w.-]+", line) for line in tomllib.loads(project)["project"]["dependencies"])
    return {name[0].lower() for name in found if name} - OWN


def described(page: str) -> Mapping[str, str]:
    """The packages of the page's table, with their versions.

    Raises:
        ValueError: a row does not have as many versions as packages.
    """
    rows: dict[str, str] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != COLUMNS or not re.match(r"\d", cells[3]):
            continue
        names = [name.strip().lower() for name in re.sub(r"\(.*?\)", "", cells[0]).split(",")]
        versions = [version.strip() for version in cells[3].split(";")]
        # Packages that are always released together share a version.
        rows |= zip(names, versions * len(names) if len(versions) == 1 else versions, strict=True)
    return rows


def gaps(wanted: Set[str], rows: Mapping[str, str], packages: Mapping[str, Locked]) -> Iterator[str]:
    """Packages without a row, rows without a package, and rows with another version."""
    for name in sorted(wanted - rows.keys()):
        yield f"{name}: is used and has no row"
    for name in sorted(rows.keys() - wanted):
        yield f"{name}: has a row, but is neither in pyproject.toml nor in third_party/site.toml"
    for name in sorted(wanted & rows.keys()):
        if rows[name] not in packages[name].versions:
            yield f"{name}: {', '.join(sorted(packages[name].versions))} is locked, the page says {rows[name]}"


def used() -> Mapping[str, Locked]:
    """All packages that the page must name: the project's direct dependencies, and the packages in `third_party/`."""
    locked = shipped((ROOT / "uv.lock").read_text())
    direct = {name: locked[name] for name in declared((ROOT / "pyproject.toml").read_text())}
    return direct | {each.package: Locked(each.package, frozenset({each.version})) for each in vendored()}


def main() -> int:
    """Compare the page with the packages in use."""
    rows, wanted = described((ROOT / PAGE).read_text()), used()
    found = [f"{PAGE}: {gap}" for gap in gaps(wanted.keys(), rows, wanted)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"dependencies: {len(wanted)} packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
