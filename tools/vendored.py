"""Compares npm's packages in `third_party/` with the hashes in `site.toml` there; `--fetch` fetches them again."""

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
    """One published version; `files` are the needed files, by their path in the package, with their SHA-256 in hex."""

    folder: str
    package: str
    version: str
    integrity: str
    files: Mapping[str, str]

    def contents(self, archive: Path) -> Iterator[tuple[str, bytes]]:
        """The name and content of each needed file, from npm's archive.

        Raises:
            ValueError: the archive does not have the pinned hash.
        """
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != self.integrity:
            raise ValueError(f"{self.package}@{self.version}: integrity is {found}, but {self.integrity} is pinned")
        with tarfile.open(archive) as opened:
            for path in self.files:
                member = opened.extractfile(f"package/{path}")
                assert member is not None
                yield PurePosixPath(path).name, member.read()


def packages(third_party: Path = THIRD_PARTY) -> list[Package]:
    """The packages that `site.toml` pins."""
    pinned = tomllib.loads((third_party / "site.toml").read_text())
    return [
        Package(folder, each["package"], each["version"], each["integrity"], each["files"])
        for folder, each in pinned.items()
    ]


def findings(third_party: Path = THIRD_PARTY) -> Iterator[str]:
    """Files that are missing, differ from their pinned hash, or are not in `site.toml`."""
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
                yield f"{package.folder}/{name}: sha256 is {found}, but {pinned} is pinned"
        yield from (f"{package.folder}/{name}: not in site.toml" for name in sorted(there))


def fetch(package: Package, third_party: Path = THIRD_PARTY) -> None:
    """Fetch the files of the pinned version into its folder, from the registry that npm uses.

    Raises:
        ValueError: the registry's archive does not have the pinned hash.
    """
    with tempfile.TemporaryDirectory(prefix="soma-vendor-") as scratch:
        command = ["npm", "pack", "--silent", f"{package.package}@{package.version}"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(scratch).glob("*.tgz")
        for name, content in package.contents(archive):
            (third_party / package.folder).mkdir(exist_ok=True)
            (third_party / package.folder / name).write_bytes(content)


def main() -> int:
    """Check the files; with `--fetch`, fetch them first."""
    if "--fetch" in sys.argv:
        for package in packages():
            fetch(package)
    found = list(findings())
    print(*found, sep="\n", end="\n" if found else "")
    print(f"vendored: {len(packages())} packages, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
