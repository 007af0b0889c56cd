"""Another revision of this repository, checked out beside this one, with an environment of its own."""

import asyncio
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from bench.programs import Missing, output, program

HERE = Path(__file__).parents[1]
# With nothing in a cache, every dependency and tool is fetched and built.
PATIENCE_SECONDS = 1200.0


@dataclass(frozen=True)
class Revision:
    """A commit; what is checked out of it stays in `folder`, so that it is set up once."""

    commit: str
    folder: Path

    @classmethod
    def named(cls, name: str, repository: Path, scratch: Path) -> "Revision":
        """The commit that a branch, a tag or a hash names, kept below `scratch`.

        Raises:
            Missing: the repository has no such commit.
        """
        command = [_git(), "rev-parse", "--verify", "--quiet", "--end-of-options"]
        found = subprocess.run([*command, f"{name}^{{commit}}"], cwd=repository, capture_output=True, text=True)
        if found.returncode != 0:
            raise Missing(f"there is no revision {name!r} in {repository}; git log shows which there are")
        commit = found.stdout.strip()
        return cls(commit, scratch / commit)

    @property
    def short(self) -> str:
        """What people call it."""
        return self.commit[:7]

    @property
    def source(self) -> Path:
        """Its files."""
        return self.folder / "source"

    @property
    def python(self) -> Path:
        """The Python of its environment."""
        return self.source / ".venv" / "bin" / "python"

    async def set_up(self, repository: Path) -> None:
        """Check it out and run its own `make setup`, unless that was done before.

        Raises:
            Missing: there is no make.
            RuntimeError: it has no `make setup`, or that failed.
            TimeoutError: it took too long.
        """
        done = self.folder / "done"
        if done.exists():
            return
        # What an interrupted attempt left.
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.source.mkdir(parents=True)
        archive = self.folder / "source.tar"
        await output([_git(), "archive", f"--output={archive}", self.commit], 60.0, cwd=repository)
        await asyncio.to_thread(_unpack, archive, self.source)
        # What the `make` that started this was given is not for that one.
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
