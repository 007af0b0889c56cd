"""Compares `docs/dependencies.md` with what the server depends on: a row for each package, with the version in use."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set

from tools.lock import ROOT, Locked, shipped

PAGE = "docs/dependencies.md"
# The contracts are a package of this repository.
OWN = {"somamesh-contracts"}
COLUMNS = 5


def declared(project: str) -> Set[str]:
    """The packages that the text of a `pyproject.toml` asks for at run time."""
    found = (re.match(r"[\w.-]+", line) for line in tomllib.loads(project)["project"]["dependencies"])
    return {name[0].lower() for name in found if name} - OWN


def described(page: str) -> Mapping[str, str]:
    """The packages of the page's table, and the version of each.

    Raises:
        ValueError: a row names another number of packages than of versions.
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
    """What the page lacks, has too much, or has of another version."""
    for name in sorted(wanted - rows.keys()):
        yield f"{name}: is a dependency in pyproject.toml and has no row"
    for name in sorted(rows.keys() - wanted):
        yield f"{name}: has a row and is no dependency in pyproject.toml"
    for name in sorted(wanted & rows.keys()):
        if rows[name] not in packages[name].versions:
            yield f"{name}: {', '.join(sorted(packages[name].versions))} is locked, the page says {rows[name]}"


def main() -> int:
    """Compare the page with `pyproject.toml` and `uv.lock`."""
    rows = described((ROOT / PAGE).read_text())
    wanted = declared((ROOT / "pyproject.toml").read_text())
    found = [f"{PAGE}: {gap}" for gap in gaps(wanted, rows, shipped((ROOT / "uv.lock").read_text()))]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"dependencies: {len(wanted)} packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
