"""The shipped packages: those in `uv.lock` that the server needs at run time, on any platform."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SERVER = "somamesh-server"


@dataclass(frozen=True)
class Locked:
    """A package and its locked versions; it has several when they depend on the platform or on Python."""

    name: str
    versions: frozenset[str]


def shipped(text: str, root: str = SERVER) -> Mapping[str, Locked]:
    """All direct and indirect dependencies of `root` in a lock file, without the project's own packages."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads(text)["package"]:
        packages.setdefault(package["name"], []).append(package)
    wanted, seen = [(root, "")], set[tuple[str, str]]()
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for package in packages[name]:
            needs = (
                package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
            )
            for need in needs:
                wanted += [(need["name"], "")]
                wanted += [(need["name"], also) for also in need.get("extra", [])]
    return {
        name: Locked(name, frozenset(package["version"] for package in packages[name]))
        for name in sorted({name for name, _ in seen})
        if not any("editable" in package["source"] for package in packages[name])
    }
