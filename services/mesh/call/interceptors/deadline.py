"""A hop spends its caller's remaining time: the deadline a call came with bounds everything it calls.

A client of REST that set one has no clock of its own running: it reads a stream to its end. So such a stream is ended
here, a moment before gRPC would reset it, and has its typed error as its last event.
"""

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic
from typing import TypeVar

from services.mesh.call import errors
from services.mesh.call.call import Call
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

M = TypeVar("M")

# The path a client of the gateway asked for, where it was transcoded.
_TRANSCODED = "x-envoy-original-path"
# How long before its deadline a stream is ended, at most: what it takes to tell of it, on a busy machine.
_EARLY_SECONDS = 0.1


def deadline(rpc: Method) -> Hooks:
    """Note when the call must be over; refuse one whose time is already spent."""
    return Hooks(enter=_enter_stream if rpc.server_streaming else _enter)


def _enter(call: Call) -> None:
    assert call.context is not None
    remaining = call.context.time_remaining()
    if remaining is None:
        return
    if remaining <= 0:
        raise errors.DeadlineExceeded("the deadline passed before the call began")
    call.deadline = monotonic() + remaining


def _enter_stream(call: Call) -> None:
    _enter(call)
    if call.deadline is not None and not call.local and _TRANSCODED in call.metadata:
        early = min(_EARLY_SECONDS, (call.deadline - monotonic()) / 10)
        call.ends = call.deadline - early


async def ending(responses: AsyncGenerator[M, None], at: float) -> AsyncGenerator[M, None]:
    """The responses until `at`, in the event loop's time.

    Raises:
        DeadlineExceeded: there would have been more.
    """
    try:
        while True:
            async with asyncio.timeout_at(at) as limit:
                response = await anext(responses)
            yield response
    except StopAsyncIteration:
        return
    except TimeoutError:
        if limit.expired():
            raise errors.DeadlineExceeded("the deadline passed before the stream was over") from None
        raise
    finally:
        await responses.aclose()
