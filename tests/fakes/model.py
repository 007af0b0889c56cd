"""A fake of the model service that generates text: it gives the answers of a test."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2, model_service_pb2_grpc
from soma.model.v1 import model_service_pb2 as pb
from soma.model.v1.catalog_service_pb2 import Model

from services.mesh.call import errors
from services.messages.answer import joined
from tests.fakes.catalog import FakeCatalog
from tests.fakes.fake import Fake

Piece: TypeAlias = message_pb2.Delta | asyncio.Event
"""A part of an answer; an event is waited for."""


@dataclass(frozen=True)
class Answer:
    """What a model says to one question; it ends with a reason, or fails."""

    pieces: Sequence[Piece]
    end: message_pb2.FinishReason.ValueType | errors.MeshError


def answer(
    *pieces: str | message_pb2.ToolCallDelta | message_pb2.ReasoningDelta | Piece,
    end: message_pb2.FinishReason.ValueType | errors.MeshError = message_pb2.FINISH_REASON_STOP,
) -> Answer:
    """An answer of texts, tool calls and thoughts."""
    return Answer([_piece(each) for each in pieces], end)


def _piece(given: str | message_pb2.ToolCallDelta | message_pb2.ReasoningDelta | Piece) -> Piece:
    if isinstance(given, str):
        return message_pb2.Delta(text=given)
    if isinstance(given, message_pb2.ToolCallDelta):
        return message_pb2.Delta(tool_calls=[given])
    return message_pb2.Delta(reasoning=[given]) if isinstance(given, message_pb2.ReasoningDelta) else given


def refusing(text: str) -> message_pb2.Delta:
    """A piece of a refusal to answer."""
    return message_pb2.Delta(text=text, refusal=True)


def lost() -> errors.MeshError:
    """The error of a model whose provider goes away."""
    return errors.Unavailable("the provider went away", reason=reasons.PROVIDER_UNAVAILABLE, retry_after=2.0)


class FakeModel(Fake, model_service_pb2_grpc.ModelServiceServicer):
    """Generates the answers of a test, as any model of a catalogue.

    Attributes:
        answers: the next generation takes the first, unless it is the only one left, which all others take.
        name: of the model that answers, whichever is asked for, as after a fallback; empty for the one asked for.
        unsupported: fields of the options that the provider does not have.
        generated: the requests.
        counted: the requests to count tokens; each conversation has seven.
        waiting: set once a generation waits for an event of its answer.
        resume: an event for an answer to wait for.
        cancelled: set once a caller has left a generation before its end.
    """

    def __init__(self, catalog: FakeCatalog, happened: list[str] | None = None, name: str = "") -> None:
        super().__init__(happened)
        self.answers = [answer("Hello", " there")]
        self.name = name
        self.unsupported: list[str] = []
        self.generated: list[pb.GenerateRequest] = []
        self.counted: list[pb.CountTokensRequest] = []
        self.waiting = asyncio.Event()
        self.resume = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._catalog = catalog

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        copied = pb.GenerateRequest()
        copied.CopyFrom(request)
        self.generated.append(copied)
        generation_id = f"g-{len(self.generated)}"
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            await self.meet("generate")
            started = self._started(request)
            started.generation_id = generation_id
            whole = pb.GenerationAnswer(started=started) if request.options.whole else None
            if whole is None:
                yield pb.GenerateResponse(started=started)
            deltas: list[message_pb2.Delta] = []
            for piece in said.pieces:
                if isinstance(piece, asyncio.Event):
                    self.waiting.set()
                    await piece.wait()
                elif whole is None:
                    yield pb.GenerateResponse(delta=piece)
                else:
                    deltas.append(piece)
            if isinstance(said.end, errors.MeshError):
                raise said.end
            usage = message_pb2.Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
            finished = pb.GenerationFinished(finish_reason=said.end, usage=usage)
            if whole is None:
                yield pb.GenerateResponse(finished=finished)
                return
            if deltas:
                whole.delta.CopyFrom(joined(deltas))
            whole.finished.CopyFrom(finished)
            yield pb.GenerateResponse(answer=whole)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def CountTokens(self, request: pb.CountTokensRequest, context: Any) -> pb.CountTokensResponse:
        await self.meet("count")
        self.counted.append(request)
        return pb.CountTokensResponse(model="scripted", provider="local", input_tokens=7, estimated=True)

    def _started(self, request: pb.GenerateRequest) -> pb.GenerationStarted:
        """Raises what the contract refuses."""
        named = [each for each in self._catalog.models if _answers_to(each, request.model)]
        if not named:
            raise errors.NotFound(f"there is no model `{request.model}`", reason=reasons.MODEL_NOT_FOUND)
        dropped = [field for field in self.unsupported if request.options.HasField(field)]  # type: ignore[arg-type]  # by name
        if dropped and not request.options.drop_params:
            raise errors.InvalidArgument(
                f"the provider has no {', '.join(dropped)}",
                reason=reasons.PARAMETER_NOT_SUPPORTED,
                violations=[errors.FieldViolation(field, "not supported") for field in dropped],
            )
        return pb.GenerationStarted(
            model=self.name or named[0].name, provider=named[0].provider, dropped_params=dropped
        )


def _answers_to(model: Model, name: str) -> bool:
    return name in (model.name, f"{model.provider}/{model.name}") if name else model.default
