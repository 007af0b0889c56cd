"""Records of usage."""

from dataclasses import dataclass
from datetime import datetime

from soma.model.v1 import cost_service_pb2 as cost

from somamesh.answers import Usage, from_usage
from somamesh.enums import enum_word
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One generation, finished or not.

    Attributes:
        id: the id of its `Answer`.
        outcome: `finished`, `failed` or `cancelled`.
        error_reason: why it failed; empty otherwise.
        conversation: empty when there was none.
        duration: seconds.
        time_to_first_token: seconds.
    """

    id: str
    subject: str
    model: str
    provider: str
    outcome: str
    error_reason: str
    usage: Usage
    conversation: str
    started_at: datetime | None
    duration: float
    time_to_first_token: float


def from_usage_record(record: cost.UsageRecord) -> UsageRecord:
    """Convert a usage record."""
    return UsageRecord(
        id=record.generation_id,
        subject=record.subject,
        model=record.model,
        provider=record.provider,
        outcome=enum_word(cost.UsageRecord.Outcome, record.outcome, "unknown"),
        error_reason=record.error_reason,
        usage=from_usage(record.usage),
        conversation=record.conversation_id,
        started_at=moment(record.start_time),
        duration=record.duration_seconds,
        time_to_first_token=record.time_to_first_token_seconds,
    )
