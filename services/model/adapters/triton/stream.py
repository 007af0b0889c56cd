"""Answers of chat models in Triton, streamed: requests and chunks are those of OpenAI's chat completions, as JSON.

Such a model is decoupled and has the input `REQUEST` and the output `CHUNK`, as `triton_models/slm` has them. An empty
chunk ends an answer. A request `{"cancel": ID}` on the same stream ends the answer to the request with this id.

Calls are not cancelled as gRPC cancels them: Triton 2.51 aborts when a call is cancelled at the moment when the server
sends (triton-inference-server/server, issue 8034), and takes the answers of all other callers with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import orjson
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException

from services.model.adapters import refusal as refusals
from services.model.adapters.triton.refusal import refusal
from services.model.adapters.triton.server import Server, remaining
from services.model.adapters.triton.settings import NAME
from services.model.adapters.upstream import Patience

# The deadline of the caller ends a stream before.
_LONGEST_SECONDS = 24 * 3600.0
# A server that does not end a stream in these seconds is frozen, or its model does not know `cancel`.
_ENDING_SECONDS = 10.0


class Stream:
    """A `Source` of answers for `services.model.adapters.exchange`; the path of a request is a model's name."""

    name = NAME

    def __init__(self, server: Server, patience: Patience, priority: int = 0) -> None:
        self._server = server
        self._patience = patience
        self._priority = priority

    async def stream(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Ask a model and yield its chunks as server-sent events, or its whole answer.

        Closing the generator tells the model to stop.

        Raises:
            MeshError: the server or the model failed, or sends nothing for too long.
        """
        whole, begun, ended = not body.get("stream"), False, False
        first = self._patience.whole if whole else self._patience.first_byte
        requests = Requests(path, self._priority)
        requests.ask(body)
        answers = self._server.client.stream_infer(requests, stream_timeout=_LONGEST_SECONDS)
        try:
            while not ended:
                async with asyncio.timeout(self._patience.idle if begun else first):
                    try:
                        # Not with a default, which does not catch the end of these iterators in Python 3.11.
                        answer, error = await anext(answers)
                    except StopAsyncIteration:
                        break
                if error is not None:
                    ended = True
                    raise refusal(error, path)
                begun = True
                chunks = answer.as_numpy("CHUNK")
                for chunk in chunks.ravel().tolist() if chunks is not None else ():
                    ended = ended or not chunk
                    if not ended:
                        yield chunk if whole else b"data: " + chunk + b"\n\n"
        except TimeoutError as error:
            what, limit = ("said nothing more", self._patience.idle) if begun else ("did not answer", first)
            raise refusals.timed_out(NAME, what, limit) from error
        except grpc.aio.AioRpcError as error:
            ended = True
            self._server.missed.set()
            if begun:
                raise refusals.stream_cut(NAME) from error
            raise refusal(InferenceServerException(error.details() or "", f"{error.code()}"), path) from error
        finally:
            if not ended:
                requests.cancel()
            requests.close()
            self._server.keep(_read_to_the_end(answers))


class Requests(AsyncIterator[dict[str, Any]]):
    """What is sent on one stream to `model`: the request, and that it is cancelled."""

    def __init__(self, model: str, priority: int) -> None:
        self._model = model
        self._priority = priority
        # A model, or its queue in Triton, leaves out what nobody waits for any more.
        self._microseconds = int(remaining(_LONGEST_SECONDS) * 1e6)
        self._id = uuid.uuid4().hex
        self._waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def ask(self, body: dict[str, Any]) -> None:
        tensor = InferInput("REQUEST", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([orjson.dumps(body)], np.object_))
        self._waiting.put_nowait(
            {
                "model_name": self._model,
                "inputs": [tensor],
                "request_id": self._id,
                "priority": self._priority,
                "timeout": self._microseconds,
            }
        )

    def cancel(self) -> None:
        # Before whatever waits.
        self._priority, self._microseconds = min(self._priority, 1), int(_ENDING_SECONDS * 1e6)
        self.ask({"cancel": self._id})

    def close(self) -> None:
        self._waiting.put_nowait(None)

    async def __anext__(self) -> dict[str, Any]:
        request = await self._waiting.get()
        if request is None:
            raise StopAsyncIteration
        return request


async def _read_to_the_end(answers: Any) -> None:
    with suppress(TimeoutError, grpc.aio.AioRpcError):
        async with asyncio.timeout(_ENDING_SECONDS):
            async for _ in answers:
                pass
            return
    answers.cancel()
