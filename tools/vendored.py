"""Compares npm's packages in `third_party/` with the hashes of `third_party/site.toml`; `--fetch` fetches them anew."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

THIRD_PARTY = Path(__file__).parents[1] / "third_party"


@dataclass(frozen=True)
class Package:
    """One published version: `files` are those wanted of it, by their path in it, with their SHA-256 in hex."""

    folder: str
    package: str
    version: str
    integrity: str
    files: Mapping[str, str]

    def contents(self, archive: Path) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file, out of the archive npm gives.

        Raises:
            ValueError: the archive is not the one that was pinned.
        """
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != self.integrity:
            raise ValueError(f"{self.package}@{self.version}: integrity is {found}, and was to be {self.integrity}")
        with tarfile.open(archive) as opened:
            for path in self.files:
                member = opened.extractfile(f"package/{path}")
                assert member is not None
                yield PurePosixPath(path).name, member.read()


def packages(third_party: Path = THIRD_PARTY) -> list[Package]:
    """What `site.toml` pins."""
    pinned = tomllib.loads((third_party / "site.toml").read_text())
    return [
        Package(folder, each["package"], each["version"], each["integrity"], each["files"])
        for folder, each in pinned.items()
    ]


def findings(third_party: Path = THIRD_PARTY) -> Iterator[str]:
    """Files that are missing, are not what was pinned, or were not asked for."""
    for package in packages(third_party):
        folder = third_party / package.folder
        there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
        for path, pinned in package.files.items():
            name = PurePosixPath(path).name
            if name not in there:
                yield f"{package.folder}/{name}: missing; `make vendor` fetches it"
                continue
            there.remove(name)
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            if found != pinned:
                yield f"{package.folder}/{name}: sha256 is {found}, and was to be {pinned}"
        yield from (f"{package.folder}/{name}: not in site.toml" for name in sorted(there))


def fetch(package: Package, third_party: Path = THIRD_PARTY) -> None:
    """Put the pinned version's files into its folder, from the registry npm is set up for.

    Raises:
        ValueError: the registry has something else under that version.
    """
    with tempfile.TemporaryDirectory(prefix="soma-vendor-") as scratch:
        command = ["npm", "pack", "--silent", f"{package.package}@{package.version}"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(scratch).glob("*.tgz")
        for name, content in package.contents(archive):
            (third_party / package.folder).mkdir(exist_ok=True)
            (third_party / package.folder / name).write_bytes(content)


def main() -> int:
    """Check, after fetching where that was asked for."""
    if "--fetch" in sys.argv:
        for package in packages():
            fetch(package)
    found = list(findings())
    print(*found, sep="\n", end="\n" if found else "")
    print(f"vendored: {len(packages())} packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
