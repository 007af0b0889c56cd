"""The reply of a turn as it is released: the events a client gets, and the message that memory keeps."""

import time
from collections.abc import Sequence

from soma.memory.v1.memory_service_pb2 import GetContextResponse
from soma.model.v1.message_pb2 import FINISH_REASON_CONTENT_FILTER, Delta, Message, Source, Usage
from soma.model.v1.model_service_pb2 import GenerationFinished, GenerationStarted
from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatRequest, ChatStarted

from services.mesh.call.spans import annotate
from services.messages.answer import Answer

_NO_SOURCES: Sequence[Source] = ()


class Reply:
    """Collects what was released to the client, and makes the events; its clock starts when it is created."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._began = time.perf_counter()
        self._first_token: float | None = None
        self._whole = False
        self._answer = Answer()
        self._provider = ""

    def started(self, started: GenerationStarted, context: GetContextResponse | None, length: int) -> ChatStarted:
        """The beginning of the turn.

        Args:
            context: what memory added; None if it was not asked.
            length: number of characters that the model is given.
        """
        request = self._request
        self._provider = started.provider
        annotate(
            gen_ai__operation__name="chat",
            gen_ai__provider__name=started.provider,
            gen_ai__request__model=request.model or started.model,
            gen_ai__response__model=started.model,
            gen_ai__response__id=started.generation_id,
        )
        return ChatStarted(
            chat_id=started.generation_id,
            model=started.model,
            provider=started.provider,
            conversation_id=request.conversation_id,
            remembered_messages=len(context.recent_messages) if context is not None else 0,
            sources=context.relevant_documents if context is not None else _NO_SOURCES,
            context_length_chars=length,
            dropped_params=started.dropped_params,
        )

    def add(self, delta: Delta, *, whole: bool = False) -> None:
        """Add a released piece, or the whole answer."""
        if self._first_token is None:
            self._first_token = time.perf_counter()
        self._whole = whole
        self._answer.add(delta)

    def finished(self, finished: GenerationFinished) -> ChatFinished:
        """The end of the turn."""
        now, first_token, usage = time.perf_counter(), self._first_token, finished.usage
        annotate(gen_ai__usage__input_tokens=usage.prompt_tokens, gen_ai__usage__output_tokens=usage.completion_tokens)
        # Nothing is known of how fast the tokens of a whole answer came.
        streaming = now - first_token if first_token is not None and not self._whole else 0.0
        return ChatFinished(
            finish_reason=finished.finish_reason,
            usage=usage,
            time_to_first_token_seconds=first_token - self._began if first_token is not None else 0.0,
            tokens_per_second=usage.completion_tokens / streaming if streaming > 0 else 0.0,
            duration_seconds=now - self._began,
            sources=finished.sources,
            stop_sequence=finished.stop_sequence,
        )

    def withheld(self, usage: Usage | None = None) -> ChatFinished:
        """The end of a reply that policy withholds; the usage is known only of a whole answer."""
        return self.finished(GenerationFinished(finish_reason=FINISH_REASON_CONTENT_FILTER, usage=usage))

    def message(self) -> Message | None:
        """The assistant's message; None when neither a text nor a tool call was released."""
        return self._answer.message(self._provider)
