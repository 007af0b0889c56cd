"""Another revision of this repository, checked out into its own folder with its own environment."""

import asyncio
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from bench.programs import Missing, output, program

HERE = Path(__file__).parents[1]
# Long enough to fetch and build all dependencies and tools without a cache.
PATIENCE_SECONDS = 1200.0


@dataclass(frozen=True)
class Revision:
    """A commit. Its checkout stays in `folder`, so that it is set up only once."""

    commit: str
    folder: Path

    @classmethod
    def named(cls, name: str, repository: Path, scratch: Path) -> "Revision":
        """The commit of a branch, a tag or a hash; its folder is below `scratch`.

        Raises:
            Missing: the repository has no such commit.
        """
        command = [_git(), "rev-parse", "--verify", "--quiet", "--end-of-options"]
        found = subprocess.run([*command, f"{name}^{{commit}}"], cwd=repository, capture_output=True, text=True)
        if found.returncode != 0:
            raise Missing(f"there is no revision {name!r} in {repository}; git log lists the revisions")
        commit = found.stdout.strip()
        return cls(commit, scratch / commit)

    @property
    def short(self) -> str:
        """The short hash."""
        return self.commit[:7]

    @property
    def source(self) -> Path:
        """The folder of its files."""
        return self.folder / "source"

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return self.source / ".venv" / "bin" / "python"

    async def set_up(self, repository: Path) -> None:
        """Check it out and run its own `make setup`, if that was not done before.

        Raises:
            Missing: there is no make.
            RuntimeError: the revision has no `make setup`, or it failed.
            TimeoutError: the setup took too long.
        """
        done = self.folder / "done"
        if done.exists():
            return
        # Remove what an interrupted attempt left.
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.source.mkdir(parents=True)
        archive = self.folder / "source.tar"
        await output([_git(), "archive", f"--output={archive}", self.commit], 60.0, cwd=repository)
        await asyncio.to_thread(_unpack, archive, self.source)
        # The variables of the `make` that runs this program must not reach the other `make`.
        make = program("make", "install GNU make")
        none = dict.fromkeys(("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES"), "")
        await output([make, "setup"], PATIENCE_SECONDS, cwd=self.source, env=none)
        done.touch()


def _git() -> str:
    return program("git", "install git")


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    archive.unlink()
