"""Long subjects of commits are found, in full and shallow clones and after merges of older branches."""

import subprocess
from pathlib import Path

import pytest

from tools.subjects import MOST, too_long

LONG = "x" * (MOST + 1)
RULE = 1_000_000_000


class Repository:
    """A git repository whose commits have given times."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, at: int = RULE) -> str:
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "t"), ("EMAIL", "t@t"), ("DATE", f"{at} +0000"))
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1", **who},
        )
        return done.stdout.decode().strip()

    def commit(self, subject: str, at: int) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", subject, at=at)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "whole")


def shallow(repository: Repository, depth: int) -> Path:
    clone = repository.root.parent / f"depth{depth}"
    repository.git("clone", "--quiet", f"--depth={depth}", f"file://{repository.root}", str(clone))
    return clone


def test_a_long_subject_after_the_rule_is_found_and_one_before_it_is_not(repository: Repository) -> None:
    repository.commit("before " + LONG, RULE - 1)
    rule = repository.commit("the last before " + LONG, RULE)
    repository.commit("y" * MOST, RULE + 1)
    assert too_long(repository.root, rule, RULE) == []
    revision = repository.commit(LONG, RULE + 2)
    (found,) = too_long(repository.root, rule, RULE)
    assert revision.startswith(found.split(":")[0])
    assert LONG in found


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_shallow_clone_with_or_without_the_last_commit_before_the_rule(repository: Repository, depth: int) -> None:
    repository.commit("before " + LONG, RULE - 1)
    rule = repository.commit("the last before " + LONG, RULE)
    repository.commit("short", RULE + 1)
    repository.commit(LONG, RULE + 2)
    assert len(too_long(shallow(repository, depth), rule, RULE)) == 1


def test_commits_of_a_branch_older_than_the_rule_and_merges_are_not_read(repository: Repository) -> None:
    repository.commit("root", RULE - 10)
    repository.git("branch", "older")
    rule = repository.commit("the last before", RULE)
    repository.git("checkout", "--quiet", "older")
    repository.commit("older " + LONG, RULE - 5)
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message", "merge " + LONG, "older", at=RULE + 1)
    assert too_long(repository.root, rule, RULE) == []
    assert too_long(shallow(repository, 2), rule, RULE) == []


def test_a_repository_without_commits_has_nothing_to_find(repository: Repository) -> None:
    assert too_long(repository.root) == []
