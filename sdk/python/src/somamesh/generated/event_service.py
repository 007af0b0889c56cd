"""Builds the calls of EventService; generated from soma/mesh/v1/event_service.proto."""

from soma.mesh.v1 import event_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, unary, unchanged


def list_dead_letters(
    *, consumer: str = "", type: str = "", page_size: int = 0, timeout: float | None = None
) -> Listing[pb.DeadLetter]:
    """Lists the tenant's events that consumers gave up on. Pages are fetched while iterating.

    Args:
        consumer: Only those of this service; all when empty.
        type: Only events of this kind; all when empty.
        page_size: Dead letters a page; 50 when 0.
    """

    def read(response: pb.ListDeadLettersResponse) -> Page[pb.DeadLetter]:
        return Page([unchanged(each) for each in response.dead_letters], response.next_page_token)

    def page(token: str) -> Call[Page[pb.DeadLetter]]:
        request = pb.ListDeadLettersRequest(consumer=consumer, type=type, page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.event_service.ListDeadLetters, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def replay_dead_letter(dead_letter_id: str, *, timeout: float | None = None) -> Call[pb.ReplayDeadLetterResponse]:
    """Has the consumer that gave an event up handle it once more, and no other consumer. To repeat the call before
    it is handled, or afterwards, changes nothing. NOT_FOUND (DEAD_LETTER_NOT_FOUND) when the tenant has no such
    dead letter.

    Args:
        dead_letter_id: Its id.
    """
    request = pb.ReplayDeadLetterRequest(dead_letter_id=dead_letter_id)
    return unary(lambda mesh: mesh.event_service.ReplayDeadLetter, request, unchanged, repeatable=True, timeout=timeout)


def list_event_streams(*, timeout: float | None = None) -> Call[pb.ListEventStreamsResponse]:
    """Lists the streams of events with their consumers, over all tenants."""
    request = pb.ListEventStreamsRequest()
    return unary(lambda mesh: mesh.event_service.ListEventStreams, request, unchanged, repeatable=True, timeout=timeout)
