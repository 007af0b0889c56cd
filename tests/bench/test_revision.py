"""A revision is checked out once, into its own folder with its own environment."""

import subprocess
from pathlib import Path

import pytest

from bench.programs import Missing
from bench.revision import Revision

# The commit's Makefile counts its setups, and puts a Python where an environment has it.
MAKEFILE = """setup:
\t@test -z "$(MAKEFLAGS)"
\techo once >> ../times
\tmkdir -p .venv/bin
\tcp {name} .venv/bin/python
"""


def _git(repository: Path, *arguments: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    return subprocess.run(["git", *who, *arguments], cwd=repository, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: the first has a tag, and the second cannot be set up."""
    folder = tmp_path / "repository"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    (folder / "Makefile").write_text(MAKEFILE.format(name="first"))
    (folder / "first").write_text("the first")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "one")
    _git(folder, "tag", "before")
    (folder / "Makefile").write_text(MAKEFILE.format(name="second"))
    _git(folder, "commit", "--quiet", "--all", "--message", "two")
    return folder


async def test_a_revision_is_set_up_once_under_all_its_names(repository: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    revision = Revision.named("before", repository, scratch)
    await revision.set_up(repository)
    assert revision.python.read_text() == "the first"
    again = Revision.named("HEAD~1", repository, scratch)
    assert again == revision
    await again.set_up(repository)
    assert (revision.folder / "times").read_text() == "once\n"
    # The repository itself was not changed.
    assert _git(repository, "status", "--porcelain", "--ignored") == ""


async def test_the_variables_of_an_outer_make_do_not_reach_its_own_make(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEFLAGS", "n")
    revision = Revision.named("before", repository, tmp_path / "scratch")
    await revision.set_up(repository)
    assert revision.python.exists()


async def test_a_revision_that_cannot_be_set_up_says_why_and_is_tried_again(repository: Path, tmp_path: Path) -> None:
    revision = Revision.named("HEAD", repository, tmp_path / "scratch")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="second"):
            await revision.set_up(repository)
    # The files of the first attempt were removed.
    assert (revision.folder / "times").read_text() == "once\n"


def test_an_unknown_name_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no revision 'nothing'"):
        Revision.named("nothing", repository, tmp_path)
    with pytest.raises(Missing, match="no revision '--all'"):
        Revision.named("--all", repository, tmp_path)
