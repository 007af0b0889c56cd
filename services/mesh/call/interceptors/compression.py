"""Answers with gzip whom the gateway says it of: a client that compressed its request and reads gzip.

gRPC itself keeps from its servers how a request was compressed and what its client accepts.
"""

from typing import Any

import grpc

from services.mesh.call.call import Call
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

METADATA_KEY = "x-soma-grpc-encoding"
"""Set by the gateway alone, to `gzip`."""


def compression(_: Method) -> Hooks:
    """Compress what the call sends back, where it is to be; inside the process nothing is."""
    return Hooks(enter=_enter)


def _enter(call: Call) -> None:
    if not call.local and METADATA_KEY in call.metadata:
        context: Any = call.context
        context.set_compression(grpc.Compression.Gzip)
        call.compressed = True


async def begin(context: Any) -> None:
    """Send the initial metadata of a unary call, with which grpc.aio would else forget that it is compressed."""
    try:
        await context.send_initial_metadata(())
    except grpc.aio.UsageError:
        # The servicer had some of its own to send, and the compression with it.
        return
