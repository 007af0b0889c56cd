"""Refuses code that aborts a gRPC call outside the pipeline."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("services", "gateway", "cli", "sdk/python/src")
# The methods that end a call with a status. Other code raises a class of services/mesh/call/errors.py instead.
ABORTS = {"abort", "abort_with_status"}
PIPELINE = "services/mesh/call/pipeline.py"


def aborts_in(source: str) -> Iterator[int]:
    """The lines of Python source that abort a servicer's context, held by any variable or attribute."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ABORTS
            and ast.unparse(node.func.value).endswith(("context", "ctx"))
        ):
            yield node.lineno


def main() -> int:
    """Check every module of the product."""
    modules = sorted(module for folder in SOURCES for module in (ROOT / folder).rglob("*.py"))
    found = [
        f"{name}:{line}: raise a class of services/mesh/call/errors.py; only {PIPELINE} aborts a call"
        for name, source in ((str(module.relative_to(ROOT)), module.read_text()) for module in modules)
        if name != PIPELINE
        for line in aborts_in(source)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"aborts: {len(modules)} modules, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
