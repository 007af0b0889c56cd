"""A conversation with the mesh over native gRPC; the answers are streamed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.policy.v1 import policy_service_pb2

from services.mesh.call.errors import Code, Facts, Unavailable, relayed
from services.mesh.call.status import AS_MESH_ERRORS

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub

# A model may need minutes; the mesh sends heartbeats until then.
TURN_SECONDS = 600.0


@dataclass(frozen=True)
class Printer:
    """The functions that print a turn: the text of the answer, the text of thoughts, and notes."""

    text: Callable[[str], None]
    thought: Callable[[str], None]
    note: Callable[[str], None]


class Conversation:
    """The turns of one conversation; without an id, the mesh does not remember them."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]], *, conversation_id: str, model: str
    ) -> None:
        self._stub: ChatServiceAsyncStub = ChatServiceStub(channel)
        self._metadata = metadata
        self._conversation_id = conversation_id
        self._model = model

    async def turn(self, text: str, printer: Printer, pictures: Sequence[message_pb2.Media] = ()) -> None:
        """Send `text`, and pictures after it, and show the answer.

        Raises:
            MeshError: the turn failed, or its stream was cut.
        """
        request = pb.ChatRequest(
            model=self._model,
            conversation_id=self._conversation_id,
            messages=[
                message_pb2.Message(
                    role=message_pb2.ROLE_USER,
                    content=text,
                    parts=[message_pb2.Part(image=picture) for picture in pictures],
                )
            ],
        )
        call = self._stub.Chat(request, metadata=self._metadata, timeout=TURN_SECONDS)
        display = _Display(printer)
        finished = False
        try:
            with AS_MESH_ERRORS:
                async for event in call:
                    finished = display.show(event)
        finally:
            call.cancel()
        if not finished:
            raise Unavailable("the answer was cut off", reason=reasons.STREAM_CUT)


class _Display:
    """Shows the events of a turn. Each thought is on lines of its own."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._thought: int | None = None

    def show(self, event: pb.ChatResponse) -> bool:
        """Show one event; return whether it is the final event of a successful turn."""
        match event.WhichOneof("payload"):
            case "delta":
                self._show_delta(event.delta)
            case "policy":
                decision = policy_service_pb2.Decision.Name(event.policy.decision).removeprefix("DECISION_").lower()
                rules = "; ".join(rule.reason or rule.rule_id for rule in event.policy.matched_rules)
                self._printer.note(f"policy on the {event.policy.stage}: {decision}{f' ({rules})' if rules else ''}")
            case "error":
                facts = Facts(retry_after=event.error.retry_after_seconds or None)
                raise relayed(Code(event.error.code), event.error.message, reason=event.error.reason, facts=facts)
            case "finished":
                for source in event.finished.sources:
                    self._printer.note(f"source: {source.key}")
                self._printer.note(_summary(event.finished))
                return True
        return False

    def _show_delta(self, delta: message_pb2.Delta) -> None:
        for thought in delta.reasoning:
            # A provider that does not show its thoughts sends their signatures only.
            if thought.text:
                self._end_thought(unless=thought.index)
                self._printer.thought(thought.text)
                self._thought = thought.index
        if delta.text:
            self._end_thought()
            self._printer.text(delta.text)
        for citation in delta.citations:
            self._printer.note(f"cites {citation.url or citation.title}")
        for call in delta.tool_calls:
            if call.name:
                self._printer.note(f"the model asks for {call.name}")

    def _end_thought(self, *, unless: int | None = None) -> None:
        if self._thought is not None and self._thought != unless:
            self._printer.thought("\n")
            self._thought = None


def _summary(finished: pb.ChatFinished) -> str:
    reason = message_pb2.FinishReason.Name(finished.finish_reason).removeprefix("FINISH_REASON_").lower()
    speed = f", {finished.tokens_per_second:.0f} tokens/s" if finished.tokens_per_second else ""
    first = f"first token after {finished.time_to_first_token_seconds * 1000:.0f} ms"
    return f"{reason}, {finished.usage.total_tokens} tokens, {first}{speed}"
