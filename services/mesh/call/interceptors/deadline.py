"""Takes the deadline from a call; it bounds every call that the servicer makes in turn.

A REST client that sets a deadline does not watch the time itself: it reads a stream to its end. So this interceptor
ends such a stream a moment before gRPC would reset it, and the typed error is its last event.
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

# The path that the client asked the gateway for; set where Envoy transcoded the call from REST.
_TRANSCODED = "x-envoy-original-path"
# A stream is ended at most this long before its deadline: the error takes so long to arrive on a busy machine.
_EARLY_SECONDS = 0.1


def deadline(rpc: Method) -> Hooks:
    """Note when the call must be over; refuse a call whose deadline has passed."""
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
