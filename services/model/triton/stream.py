"""Answers of chat models in Triton, streamed: requests and chunks are those of OpenAI's chat completions, as JSON.

Such a model is decoupled and has the input `REQUEST` and the output `CHUNK`, as `triton_models/slm` has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import grpc
import numpy as np
import orjson
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from services.model.adapters import refusal as refusals
from services.model.adapters.upstream import Patience
from services.model.triton.refusal import NAME, refusal
from services.model.triton.server import Server, remaining


class Stream:
    """A `Source` of answers for `services.model.adapters.exchange`; the path of a request is a model's name."""

    name = NAME

    def __init__(self, server: Server, patience: Patience) -> None:
        self._server = server
        self._patience = patience

    async def stream(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Ask a model and yield its chunks as server-sent events, or its whole answer.

        Closing the generator cancels the request, and Triton tells the model.

        Raises:
            MeshError: the server or the model failed, or sends nothing for too long.
        """
        whole, begun = not body.get("stream"), False
        tensor = InferInput("REQUEST", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([orjson.dumps(body)], np.object_))
        first = self._patience.whole if whole else self._patience.first_byte
        asked = {"model_name": path, "inputs": [tensor]}
        answers = self._server.client.stream_infer(_once(asked), stream_timeout=remaining(_LONGEST_SECONDS))
        try:
            while True:
                async with asyncio.timeout(self._patience.idle if begun else first):
                    try:
                        # Not with a default, which does not catch the end of these iterators in Python 3.11.
                        answer, error = await anext(answers)
                    except StopAsyncIteration:
                        break
                if error is not None:
                    raise refusal(error, path)
                begun = True
                chunks = answer.as_numpy("CHUNK")
                for chunk in chunks.ravel().tolist() if chunks is not None else ():
                    yield chunk if whole else b"data: " + chunk + b"\n\n"
        except TimeoutError as error:
            what, limit = ("said nothing more", self._patience.idle) if begun else ("did not answer", first)
            raise refusals.timed_out(NAME, what, limit) from error
        except grpc.aio.AioRpcError as error:
            if begun:
                raise refusals.stream_cut(NAME) from error
            raise refusal(InferenceServerException(error.details() or "", f"{error.code()}"), path) from error
        finally:
            answers.cancel()


_LONGEST_SECONDS = 24 * 3600.0


async def _once(asked: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield asked
