"""Continues a prompt, or answers a conversation written as one, with a model that takes the text itself.

The end of the stream is the end of the answer. A caller that leaves ends the model's work only on servers from version
2.57 on: the models of these backends know no other sign than the cancellation of the call, at which older servers
abort (triton-inference-server/server, issue 8034). There, nobody reads the rest of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import orjson
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, Delta
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND
from tritonclient.grpc import InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from services.model.adapters import refusal as refusals
from services.model.adapters.counts import usage_of
from services.model.adapters.openai_messages import chat_messages
from services.model.adapters.openai_request import add_sampling, merge
from services.model.adapters.specialists.request import unsupported
from services.model.adapters.triton.chat_template import prompt_of
from services.model.adapters.triton.discovery import Served
from services.model.adapters.triton.prompting import FLOATS, INTEGERS, SAMPLING_JSON, Prompting
from services.model.adapters.triton.refusal import protocol_error, refusal
from services.model.adapters.triton.server import Server, remaining
from services.model.adapters.triton.settings import NAME
from services.model.adapters.upstream import Patience
from services.model.json_text import parse_object
from services.model.provider import ProviderEvent
from services.model.vendor import Chat

# The deadline of the caller ends a stream before.
_LONGEST_SECONDS = 24 * 3600.0
_ASKING_SECONDS = 1.0
# An answer that nobody reads has ended by then, or the server is frozen.
_ENDING_SECONDS = 600.0
# The first version that does not abort at a cancelled call (pull request 8078).
_CANCELS = (2, 57)
_ON = ("stream", "streaming")
_ALWAYS = (
    *("exclude_input_in_output", "sampling_param_exclude_input_from_output"),
    *("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens"),
)
_FINISH = {"stop": FINISH_REASON_STOP, "length": FINISH_REASON_LENGTH}


async def prompted(
    server: Server, patience: Patience, chat: Chat, model: Served, request: GenerateRequest
) -> AsyncGenerator[ProviderEvent, None]:
    """The answer of `model`, as it arrives; closing the generator leaves it.

    Raises:
        InvalidArgument: the model's template refuses the conversation, or it lacks what the request asks for.
        MeshError: the server or the model failed, or sends nothing for too long.
    """
    how = model.prompting
    assert how is not None
    sampling = _sampling(request, how)
    inputs = _inputs(_prompt(request, chat, how), sampling, how, stream=not request.options.whole)
    priority = model.background if request.options.urgency == URGENCY_BACKGROUND else 0
    reader = _Answer(model.name, how, sampling["max_tokens"])
    texts: list[str] = []
    begun = ended = False
    answers = server.client.stream_infer(_once(model.name, inputs, priority), stream_timeout=_LONGEST_SECONDS)
    first = patience.whole if request.options.whole else patience.first_byte
    try:
        while True:
            async with asyncio.timeout(patience.idle if begun else first):
                try:
                    answer, error = await anext(answers)
                except StopAsyncIteration:
                    ended = True
                    break
            if error is not None:
                # The model says no more.
                ended = True
                raise refusal(error, model.name)
            begun = True
            if text := reader.read(answer):
                if request.options.whole:
                    texts.append(text)
                else:
                    yield Delta(text=text)
    except TimeoutError as error:
        what, limit = ("said nothing more", patience.idle) if begun else ("did not answer", first)
        raise refusals.timed_out(NAME, what, limit) from error
    except grpc.aio.AioRpcError as error:
        ended = True
        if begun:
            raise refusals.stream_cut(NAME) from error
        raise refusal(InferenceServerException(error.details() or "", f"{error.code()}"), model.name) from error
    finally:
        server.keep(_leave(server, answers, ended=ended))
    if texts:
        yield Delta(text="".join(texts))
    yield reader.finished()


async def _once(model: str, inputs: Sequence[Any], priority: int) -> AsyncIterator[dict[str, Any]]:
    # The server ends the stream when there are no more requests and the model is done.
    microseconds = int(remaining(_LONGEST_SECONDS) * 1e6)
    yield {"model_name": model, "inputs": inputs, "priority": priority, "timeout": microseconds}


async def _leave(server: Server, answers: Any, *, ended: bool) -> None:
    """Cancel the call if the server bears it, else read what comes until the model is done."""
    with suppress(TimeoutError, grpc.aio.AioRpcError, InferenceServerException):
        if ended or not await _cancels(server):
            async with asyncio.timeout(_ENDING_SECONDS):
                async for _ in answers:
                    continue
                return
    answers.cancel()


async def _cancels(server: Server) -> bool:
    """Whether the server goes on when a call is cancelled; False if it does not say its version."""
    try:
        found = await server.client.get_server_metadata(client_timeout=_ASKING_SECONDS)
    except InferenceServerException:
        return False
    numbers = str(found.version).split(".")[:2]
    return all(each.isdecimal() for each in numbers) and tuple(map(int, numbers)) >= _CANCELS


def _prompt(request: GenerateRequest, chat: Chat, how: Prompting) -> str:
    if request.options.tools:
        raise unsupported(NAME, "options.tools")
    if request.options.HasField("completion"):
        return request.messages[0].content
    return prompt_of(how.template, chat_messages(request, chat, NAME, None), how.bos, how.eos)


def _sampling(request: GenerateRequest, how: Prompting) -> dict[str, Any]:
    """The parameters of the sampling, by vLLM's names, which are the contract's.

    Raises:
        InvalidArgument: the model has no input for one.
    """
    options = request.options
    found: dict[str, Any] = {}
    add_sampling(found, options.sampling)
    found.setdefault("max_tokens", how.answer_tokens)
    if options.provider_params:
        params = parse_object(options.provider_params, "provider_params")
        if params and not how.by_json:
            raise unsupported(NAME, *(f"provider_params.{name}" for name in params))
        merge(found, params)
    if "stop" in found and not how.by_json and how.stops is None:
        raise unsupported(NAME, "sampling.stop_sequences")
    return found


def _inputs(prompt: str, sampling: dict[str, Any], how: Prompting, *, stream: bool) -> list[Any]:
    given: dict[str, Any] = {"text_input": np.array([prompt.encode()], np.object_)}
    given |= {name: np.array([stream]) for name in _ON if name in how.inputs}
    given |= {name: np.array([True]) for name in _ALWAYS if name in how.inputs}
    if how.by_json:
        given[SAMPLING_JSON] = np.array([orjson.dumps(sampling)], np.object_)
    else:
        for name, value in sampling.items():
            if name in FLOATS:
                given[how.tensor(name)] = np.array([value], np.float32)
            elif name in INTEGERS:
                given[how.tensor(name)] = np.array([value], np.int32)
            elif name == "seed":
                given[how.tensor(name)] = np.array([value % 2**64], np.uint64)
            elif name == "stop" and how.stops is not None:
                given[how.stops] = np.array([each.encode() for each in value], np.object_)
    return [_tensor(name, array[None] if how.batched else array) for name, array in given.items()]


def _tensor(name: str, array: Any) -> Any:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


class _Answer:
    """Reads the answers to one request."""

    def __init__(self, model: str, how: Prompting, most: int) -> None:
        self._model = model
        self._how = how
        self._most = most
        self._begun = False
        self._said = 0
        self._read = self._written = 0
        self._reason = ""

    def read(self, answer: Any) -> str:
        """The text that an answer adds.

        Raises:
            Unavailable: it has none.
        """
        text = self._text(answer, "text_output")
        if text is None:
            raise protocol_error(f"{self._model} has no text_output")
        self._begun = True
        if self._how.cumulative:
            text, self._said = text[self._said :], len(text)
        reason = self._text(answer, "finish_reason")
        if reason and reason != "None":
            self._reason = reason
        self._read = self._count(answer, "num_input_tokens") or self._read
        self._written += self._count(answer, "num_output_tokens")
        return text

    def finished(self) -> GenerationFinished:
        """How it ended. A model that never gives a reason has reached its limit if it wrote as many tokens.

        Raises:
            Unavailable: the model failed, or its answer is not complete.
        """
        if not self._begun:
            raise protocol_error(f"{self._model} gave no answer")
        if not self._reason and "return_finish_reason" in self._how.inputs:
            raise refusals.stream_cut(NAME)
        reason = self._reason or ("length" if self._written >= self._most else "stop")
        if reason not in _FINISH:
            raise refusals.ended_badly(NAME, reason)
        usage = usage_of(self._read, self._written) if self._read or self._written else None
        return GenerationFinished(finish_reason=_FINISH[reason], usage=usage)

    @staticmethod
    def _text(answer: Any, name: str) -> str | None:
        found = answer.as_numpy(name)
        return found.ravel()[0].decode(errors="replace") if found is not None and found.size else None

    @staticmethod
    def _count(answer: Any, name: str) -> int:
        found = answer.as_numpy(name)
        return int(found.ravel()[0]) if found is not None and found.size else 0
