"""Records a call to a provider in the usage ledger, however it ends."""

import uuid
from time import monotonic, time
from types import TracebackType
from typing import Self

from soma.errors.v1 import reasons
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import GenerationStarted

from services.mesh.call import errors
from services.mesh.call.call import current_call
from services.mesh.call.principal import Principal
from services.model import metrics
from services.model.catalogue import Route
from services.model.ledger import Ledger


class Metered:
    """Async context manager of one call. `finish` ends it well; otherwise the end of the block says how it ended.

    Attributes:
        usage: what the call took so far; it counts also for a call that fails.
        began: when it began, on the monotonic clock.
    """

    def __init__(self, ledger: Ledger, principal: Principal, route: Route, operation: str) -> None:
        self._ledger = ledger
        self._route = route
        self._operation = operation
        self._finished = False
        self.usage = Usage()
        self.began = monotonic()
        self._record = UsageRecord(
            generation_id=uuid.uuid4().hex,
            tenant_id=principal.tenant_id,
            subject=principal.subject,
            model=route.model.name,
            provider=route.provider.name,
        )
        self._record.start_time.FromMicroseconds(int(time() * 1e6))

    @property
    def generation_id(self) -> str:
        """Id of the call, and of its record."""
        return self._record.generation_id

    def started(self) -> GenerationStarted:
        """Which model answers."""
        return GenerationStarted(
            generation_id=self.generation_id, model=self._record.model, provider=self._record.provider
        )

    async def __aenter__(self) -> Self:
        await self._ledger.admit()
        return self

    async def finish(self, usage: Usage, first: float = 0.0) -> float:
        """Record the end of a call that succeeded, and return its seconds; `first` are those to its first event."""
        self._finished = True
        self.usage = usage
        record = self._ended(UsageRecord.OUTCOME_FINISHED)
        record.time_to_first_token_seconds = first
        metrics.record_call(self._route, self._operation, "finished")
        await self._ledger.record(record)
        return record.duration_seconds

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._finished:
            return
        reason, outcome = "", UsageRecord.OUTCOME_CANCELLED
        if isinstance(error, Exception):
            reason = error.reason if isinstance(error, errors.MeshError) else reasons.INTERNAL
        elif (call := current_call()) is not None and call.remaining() == 0.0:
            reason = errors.DeadlineExceeded.reason
        if reason:
            outcome = UsageRecord.OUTCOME_FAILED
        record = self._ended(outcome)
        record.error_reason = reason
        metrics.record_call(self._route, self._operation, "failed" if reason else "cancelled")
        self._ledger.record_soon(record)

    def _ended(self, outcome: "UsageRecord.Outcome.ValueType") -> UsageRecord:
        self._record.outcome = outcome
        self._record.usage.CopyFrom(self.usage)
        self._record.duration_seconds = monotonic() - self.began
        return self._record
