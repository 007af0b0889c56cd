"""Waiting for a condition, with a deadline."""

import asyncio
from collections.abc import Callable

import pytest


async def eventually(
    holds: Callable[[], bool], *, within: float = 10, otherwise: Callable[[], str] = lambda: "never held"
) -> None:
    """Poll until `holds`, or fail after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(otherwise())
        await asyncio.sleep(0.005)
