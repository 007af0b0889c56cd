"""Log entries of turns: that a turn began, what policy decided, how the turn ended; never what was said."""

import asyncio
import uuid
from contextlib import aclosing

from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from services.mesh.call import errors
from services.mesh.call.call import principal
from services.mesh.call.interceptors.errors import stated
from services.orchestrator.chat.turn import Events, TakesTurns
from services.orchestrator.logs.entry import CANCELLED, CHAT, COMPLETED, FAILED, RUNNING, Task
from services.orchestrator.logs.writer import LogWriter


class LoggedTurns:
    """A decorator of `Turns` that writes log entries."""

    def __init__(self, turns: TakesTurns, writer: LogWriter) -> None:
        self._turns = turns
        self._writer = writer

    async def take(self, request: pb.ChatRequest, *, append_id: str = "", task: Task | None = None) -> Events:
        """Take one turn, as `Turns.take` does; without `task` the turn is a task of its own."""
        turn_log = _TurnLog(self._writer, principal().tenant_id, task)
        try:
            async with aclosing(self._turns.take(request, append_id=append_id)) as events:
                async for event in events:
                    turn_log.event(event)
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            turn_log.left()
            raise
        except Exception as error:
            turn_log.failed(error)
            raise


class _TurnLog:
    """The entries of one turn."""

    def __init__(self, writer: LogWriter, tenant_id: str, task: Task | None) -> None:
        self._writer = writer
        self._tenant_id = tenant_id
        self._task = task
        self._turn: dict[str, str] = {}
        self._ended = False

    def event(self, event: pb.ChatResponse) -> None:
        """Write the entry of an event, if the event has one."""
        kind = event.WhichOneof("payload")
        if kind == "started":
            self._started(event.started)
        elif kind == "policy":
            self._noticed(event.policy)
        elif kind == "finished":
            self._finished(event.finished)
        elif kind == "answer":
            self._started(event.answer.started)
            for notice in event.answer.policy:
                self._noticed(notice)
            self._finished(event.answer.finished)

    def left(self) -> None:
        """Write that the caller left before the end."""
        if not self._ended:
            self._write("turn cancelled", {}, level="warning", task_status=CANCELLED)

    def failed(self, error: Exception) -> None:
        """Write that the turn failed."""
        known = stated(error) or errors.Internal("internal error")
        facts = {"code": known.code.name, "reason": known.reason}
        self._write(f"turn failed: {known.reason}", facts, level="error", task_status=FAILED)

    def _started(self, started: pb.ChatStarted) -> None:
        self._task = self._task or Task(started.chat_id, CHAT)
        self._turn = {"chat_id": started.chat_id, "model": started.model}
        facts = {"remembered_messages": str(started.remembered_messages)}
        self._write("turn started", facts, task_status=RUNNING)

    def _noticed(self, notice: pb.PolicyNotice) -> None:
        decision = policy_service_pb2.Decision.Name(notice.decision).removeprefix("DECISION_").lower()
        rules = ",".join(rule.rule_id for rule in notice.matched_rules)
        facts = {"stage": notice.stage, "decision": decision, "rules": rules}
        self._write(f"policy on the {notice.stage}: {decision}", facts, level="warning")

    def _finished(self, finished: pb.ChatFinished) -> None:
        self._ended = True
        self._write("turn finished", _attributes(finished), task_status=COMPLETED)

    def _write(self, message: str, facts: dict[str, str], *, level: str = "info", task_status: str = "") -> None:
        # A turn that failed before it began has no id yet.
        self._task = self._task or Task(str(uuid.uuid4()), CHAT)
        facts = {**self._turn, **facts}
        self._writer.record(self._tenant_id, self._task, message, facts, level=level, task_status=task_status)


def _attributes(finished: pb.ChatFinished) -> dict[str, str]:
    reason = message_pb2.FinishReason.Name(finished.finish_reason)
    return {
        "finish_reason": reason.removeprefix("FINISH_REASON_").lower(),
        "prompt_tokens": str(finished.usage.prompt_tokens),
        "completion_tokens": str(finished.usage.completion_tokens),
        "time_to_first_token_seconds": f"{finished.time_to_first_token_seconds:.4f}",
        "duration_seconds": f"{finished.duration_seconds:.4f}",
    }
