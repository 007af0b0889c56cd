"""soma.model.v1.CostService over the usage ledger's table."""

from datetime import UTC, datetime

from soma.model.v1 import cost_service_pb2_grpc
from soma.model.v1.cost_service_pb2 import ListUsageRequest, ListUsageResponse

from services.mesh.call import page_token
from services.mesh.call.call import principal
from services.mesh.call.pipeline import Context
from services.model.store import PageStart, UsageStore

_PAGE = 50


class CostService(cost_service_pb2_grpc.CostServiceServicer):
    """Lists the usage records of the caller's tenant."""

    def __init__(self, usage: UsageStore) -> None:
        self._usage = usage

    async def ListUsage(self, request: ListUsageRequest, context: Context) -> ListUsageResponse:
        limit = request.page_size or _PAGE
        place = page_token.read(request, datetime, str)
        after = PageStart(*place) if place else None
        # One more than the page shows whether there is a next one.
        records = await self._usage.list_usage(principal().tenant_id, request.conversation_id, after, limit + 1)
        response = ListUsageResponse(records=records[:limit])
        if len(records) > limit:
            last = response.records[-1]
            began = last.start_time.ToDatetime(tzinfo=UTC)
            response.next_page_token = page_token.write(request, began, last.generation_id)
        return response
