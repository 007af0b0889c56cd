"""A hop spends its caller's remaining time: the deadline a call came with bounds everything it calls."""

import asyncio

from services.mesh import errors
from services.mesh.call import Call
from services.mesh.hooks import Hooks
from services.mesh.method import Method


def deadline(_: Method) -> Hooks:
    """Note when the call must be over; refuse one whose time is already spent."""
    return Hooks(enter=_enter)


def _enter(call: Call) -> None:
    assert call.context is not None
    remaining = call.context.time_remaining()
    if remaining is None:
        return
    if remaining <= 0:
        raise errors.DeadlineExceeded("the deadline passed before the call began")
    call.deadline = asyncio.get_running_loop().time() + remaining
