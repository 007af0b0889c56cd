"""Merges the Prometheus expositions of several processes into one; each sample gets an `instance` label."""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?( .*)$")


def merge(expositions: Mapping[str, str]) -> str:
    """Merge the expositions of several instances; the format needs all samples of a metric next to each other."""
    comments: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for instance, text in expositions.items():
        family = ""
        label = f'instance="{instance}"'
        for line in text.splitlines():
            if line.startswith("# "):
                _, kind, family, *_ = line.split(" ", 3)
                known = comments.setdefault(family, [])
                if not any(c.startswith(f"# {kind} ") for c in known):
                    known.append(line)
            elif match := _SAMPLE.match(line):
                name, labels, value = match.groups()
                both = f"{label},{labels}" if labels else label
                samples.setdefault(family, []).append(f"{name}{{{both}}}{value}")
    lines = [line for family in comments for line in (*comments[family], *samples.get(family, ()))]
    return "\n".join(lines) + "\n"
