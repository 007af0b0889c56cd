"""What was used."""

from dataclasses import dataclass
from datetime import datetime

from soma.model.v1 import cost_service_pb2 as cost

from somamesh.answers import Usage, from_usage
from somamesh.calls import Call, Listing, Page, unary
from somamesh.times import moment

OUTCOMES: dict[int, str] = {
    number: name.removeprefix("OUTCOME_").lower() for name, number in cost.UsageRecord.Outcome.items()
}


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One generation, whatever became of it.

    Attributes:
        id: that of the `Answer`.
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


def list_usage(*, conversation: str = "", page_size: int = 0, timeout: float | None = None) -> Listing[UsageRecord]:
    """What was used, newest first; pages are fetched while iterating.

    Args:
        conversation: only what this one used.
    """

    def page(token: str) -> Call[Page[UsageRecord]]:
        request = cost.ListUsageRequest(conversation_id=conversation, page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.cost.ListUsage, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def _page(response: cost.ListUsageResponse) -> Page[UsageRecord]:
    return Page([_record(each) for each in response.records], response.next_page_token)


def _record(record: cost.UsageRecord) -> UsageRecord:
    return UsageRecord(
        id=record.generation_id,
        subject=record.subject,
        model=record.model,
        provider=record.provider,
        outcome=OUTCOMES.get(record.outcome, "unknown"),
        error_reason=record.error_reason,
        usage=from_usage(record.usage),
        conversation=record.conversation_id,
        started_at=moment(record.start_time),
        duration=record.duration_seconds,
        time_to_first_token=record.time_to_first_token_seconds,
    )
