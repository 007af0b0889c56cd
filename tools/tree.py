"""Refuses files that name one machine (paths of a home folder, package registries), or a file that does not exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A lock file must name the registry of its packages.
LOCKS = {"uv.lock"}
# These patterns do not match this file.
PATHS = re.compile(r"(?<![\w.~}])/(?:work|farm|root|home/\w+|Users/\w+|tmp/\w+)/")
REGISTRIES = re.compile(
    r"https?://[\w.-]*(?:pypi|pythonhosted|npmjs|registry|goproxy|proxy\.golang)[\w.-]*|https?://\S+/simple\b"
)
# A file of the project as documents and docstrings name it. `greeting` is the example of docs/add-a-service.md.
NAMED = re.compile(
    r"`((?:services|gateway|cli|sdk|proto|tools|tests|docs|bench|examples)/(?![^`]*greeting)[\w./-]+\.\w+)`"
)
# It names files that were there at its time.
HISTORY = "CHANGELOG.md"


def main() -> int:
    """Check every file that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted({name for name in listed.stdout.decode().split("\0") if name and name not in LOCKS})
    found = [line for name in names for line in (*_findings(name), *_missing(name))]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"tree: {len(names)} files, {len(found)} findings")
    return 1 if found else 0


def _lines(name: str) -> list[str]:
    try:
        return (ROOT / name).read_text().splitlines()
    except (UnicodeDecodeError, FileNotFoundError):
        return []  # a binary file, or a deletion that is not committed yet


def _findings(name: str) -> list[str]:
    return [
        f"{name}:{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(_lines(name), 1)
        for what, pattern in (("path of a machine", PATHS), ("package registry", REGISTRIES))
        if pattern.search(line)
    ]


def _missing(name: str) -> list[str]:
    if not name.endswith((".md", ".py", ".proto")) or name == HISTORY:
        return []
    return [
        f"{name}:{number}: there is no file {named}"
        for number, line in enumerate(_lines(name), 1)
        for named in NAMED.findall(line)
        if not (ROOT / named).exists()
    ]


if __name__ == "__main__":
    sys.exit(main())
