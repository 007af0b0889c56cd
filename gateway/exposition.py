"""Merges Prometheus expositions of several processes into one, each sample with the instance it came from."""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?( .*)$")


def merge(expositions: Mapping[str, str]) -> str:
    """One exposition out of several by instance; the samples of a metric stand together, as the format asks."""
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
