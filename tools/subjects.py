"""Refuses commits whose subject is longer than 72 characters. The subject says what changes for whom, the body why.

Commits up to `SINCE` are older than the rule and are not checked. Merges are not checked, because git writes them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The last commit before the rule. A shallow clone may not have it.
SINCE = "d2717e392139828e6596882ced008002b0329078"
# The time of that commit, for clones without it. In these, older commits come from branches that began before the rule.
SINCE_SECONDS = 1_795_922_160
MOST = 72


def too_long(root: Path, since: str = SINCE, since_seconds: int = SINCE_SECONDS) -> list[str]:
    """A line for each commit after `since` whose subject is too long; none when `root` has no commit yet.

    Args:
        root: a repository with a work tree, whole or shallow.
        since: the last commit before the rule.
        since_seconds: time of that commit, in seconds since 1970; used when the repository does not have it.

    Raises:
        CalledProcessError: `root` is not a repository.
    """
    if not _has(root, "HEAD"):
        return []
    new = ["HEAD", f"^{since}"] if _has(root, since) else ["HEAD"]
    listed = _git(root, "log", "--no-merges", "--format=%h %ct %s", *new)
    found = []
    for line in listed.splitlines():
        revision, seconds, subject = line.split(" ", 2)
        if len(subject) > MOST and int(seconds) > since_seconds:
            found.append(f"{revision}: a subject has at most {MOST} characters, this one has {len(subject)}: {subject}")
    return found


def _has(root: Path, revision: str) -> bool:
    asked = subprocess.run(["git", "cat-file", "-e", f"{revision}^{{commit}}"], cwd=root, capture_output=True)
    return asked.returncode == 0


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def main() -> int:
    """Check the commits of HEAD that are newer than the rule."""
    found = too_long(ROOT)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"subjects: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
