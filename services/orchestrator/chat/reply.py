"""The reply of a turn as it is released: the events a client gets, and the message that memory keeps."""

import time
from collections.abc import Sequence

from soma.memory.v1.memory_service_pb2 import GetContextResponse
from soma.model.v1 import message_pb2, model_service_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb

from services.mesh.call.spans import annotate

_NO_SOURCES: Sequence[message_pb2.Source] = ()


def extend_call(call: message_pb2.ToolCall, piece: message_pb2.ToolCallDelta) -> None:
    """Add the next piece to a tool call; the first piece has the call's id and name."""
    call.call_id = call.call_id or piece.call_id
    call.name = call.name or piece.name
    call.arguments += piece.arguments


class Reply:
    """Collects what was released to the client, and makes the events; its clock starts when it is created."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._first_token: float | None = None
        self._texts: list[str] = []
        self._calls: dict[int, message_pb2.ToolCall] = {}

    def started(
        self,
        request: pb.ChatRequest,
        started: model_service_pb2.GenerationStarted,
        context: GetContextResponse | None,
        length: int,
    ) -> pb.ChatResponse:
        """The first event; `length` is the number of characters the model is given."""
        annotate(
            gen_ai__operation__name="chat",
            gen_ai__provider__name=started.provider,
            gen_ai__request__model=request.model or started.model,
            gen_ai__response__model=started.model,
            gen_ai__response__id=started.generation_id,
        )
        return pb.ChatResponse(
            started=pb.ChatStarted(
                chat_id=started.generation_id,
                model=started.model,
                conversation_id=request.conversation_id,
                remembered_messages=len(context.recent_messages) if context is not None else 0,
                sources=context.relevant_documents if context is not None else _NO_SOURCES,
                context_length_chars=length,
                dropped_params=started.dropped_params,
            )
        )

    def text(self, text: str, *, refusal: bool, logprobs: Sequence[message_pb2.TokenLogprob] = ()) -> pb.ChatResponse:
        """Add a released piece of text."""
        self._mark_first_token()
        self._texts.append(text)
        delta = pb.ChatDelta(text=text, refusal=refusal)
        if logprobs:
            delta.logprobs.extend(logprobs)
        return pb.ChatResponse(delta=delta)

    def call(self, piece: message_pb2.ToolCallDelta) -> pb.ChatResponse:
        """Add a released piece of a tool call."""
        self._mark_first_token()
        extend_call(self._calls.setdefault(piece.index, message_pb2.ToolCall()), piece)
        return pb.ChatResponse(tool_call=piece)

    def finished(self, finished: model_service_pb2.GenerationFinished) -> pb.ChatResponse:
        """The last event."""
        now, first_token, usage = time.perf_counter(), self._first_token, finished.usage
        annotate(gen_ai__usage__input_tokens=usage.prompt_tokens, gen_ai__usage__output_tokens=usage.completion_tokens)
        streaming = now - first_token if first_token is not None else 0.0
        return pb.ChatResponse(
            finished=pb.ChatFinished(
                finish_reason=finished.finish_reason,
                usage=usage,
                time_to_first_token_seconds=first_token - self._began if first_token is not None else 0.0,
                tokens_per_second=usage.completion_tokens / streaming if streaming > 0 else 0.0,
                duration_seconds=now - self._began,
                sources=finished.sources,
            )
        )

    def withheld(self) -> pb.ChatResponse:
        """The last event of a reply that policy ended."""
        reason = message_pb2.FINISH_REASON_CONTENT_FILTER
        return self.finished(model_service_pb2.GenerationFinished(finish_reason=reason))

    def message(self) -> message_pb2.Message | None:
        """The assistant's message; None when nothing was released."""
        if not self._calls and not any(self._texts):
            return None
        return message_pb2.Message(
            role=message_pb2.ROLE_ASSISTANT,
            content="".join(self._texts),
            tool_calls=[self._calls[index] for index in sorted(self._calls)],
        )

    def _mark_first_token(self) -> None:
        if self._first_token is None:
            self._first_token = time.perf_counter()
