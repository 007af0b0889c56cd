"""Builds the calls of CostService; generated from soma/model/v1/cost_service.proto."""

from soma.model.v1 import cost_service_pb2 as pb

from somamesh import costs
from somamesh.calls import Call, Listing, Page, unary


def list_usage(
    *, page_size: int = 0, conversation: str = "", timeout: float | None = None
) -> Listing[costs.UsageRecord]:
    """Lists the tenant's usage records, newest first. Pages are fetched while iterating.

    Args:
        page_size: Most records in a page; 50 when 0.
        conversation: Only records of this conversation; all records when empty.
    """

    def read(response: pb.ListUsageResponse) -> Page[costs.UsageRecord]:
        return Page([costs.from_usage_record(each) for each in response.records], response.next_page_token)

    def page(token: str) -> Call[Page[costs.UsageRecord]]:
        request = pb.ListUsageRequest(page_size=page_size, conversation_id=conversation, page_token=token)
        return unary(lambda mesh: mesh.cost_service.ListUsage, request, read, repeatable=True, timeout=timeout)

    return Listing(page)
