"""Refuses files that name one machine: absolute paths of a checkout or a home folder, and package registries."""

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


def main() -> int:
    """Check every file that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted({name for name in listed.stdout.decode().split("\0") if name and name not in LOCKS})
    found = [line for name in names for line in _findings(name)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"tree: {len(names)} files, {len(found)} findings")
    return 1 if found else 0


def _findings(name: str) -> list[str]:
    try:
        text = (ROOT / name).read_text()
    except (UnicodeDecodeError, FileNotFoundError):
        return []  # a binary file, or a deletion that is not committed yet
    return [
        f"{name}:{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in (("path of a machine", PATHS), ("package registry", REGISTRIES))
        if pattern.search(line)
    ]


if __name__ == "__main__":
    sys.exit(main())
