"""Sends the requests of a client stream to the servicer."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any

from services.mesh.transport.local.crossing import Crossing, Oversize
from services.mesh.transport.local.exchange import Exchange
from services.mesh.transport.local.outcome import CANCELLED


async def send(exchange: Exchange, cross: Crossing, request: Any) -> bool:
    """Send one request and wait while the servicer is behind; False when the call has ended."""
    requests = exchange.requests
    assert requests is not None
    try:
        message = cross(request)
    except Oversize as oversize:
        exchange.interrupt(oversize.outcome())
        return True
    if requests.push(message):
        await requests.room()
    return not exchange.finished


async def upload(exchange: Exchange, cross: Crossing, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
    """Send all requests of an iterator, in a task of its own and in the caller's context.

    An exception of the iterator cancels the call, and the caller gets that exception.
    """
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                if not await send(exchange, cross, request):
                    return
        else:
            for request in requests:
                if not await send(exchange, cross, request):
                    return
    except asyncio.CancelledError:
        exchange.upload = None
        exchange.interrupt(CANCELLED)
        raise
    except Exception as error:
        exchange.upload = None
        exchange.fault = None if exchange.finished else error
        exchange.interrupt(CANCELLED)
    else:
        exchange.half_close()
