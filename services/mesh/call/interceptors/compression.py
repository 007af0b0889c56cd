"""Compresses the answer to a client that compressed its request and accepts gzip; the gateway says which ones do.

gRPC does not tell its servers how a request was compressed, nor what the client accepts.
"""

from typing import Any

import grpc

from services.mesh.call.call import Call
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

METADATA_KEY = "x-soma-grpc-encoding"
"""Set by the gateway alone, to `gzip`."""


def compression(_: Method) -> Hooks:
    """Compress the answer where the client wants it; a call inside the process is never compressed."""
    return Hooks(enter=_enter)


def _enter(call: Call) -> None:
    if not call.local and METADATA_KEY in call.metadata:
        context: Any = call.context
        context.set_compression(grpc.Compression.Gzip)
        call.compressed = True
