"""A fake of the usage ledger: the records a test gives it."""

from collections.abc import Sequence
from typing import Any

from soma.model.v1 import cost_service_pb2 as pb
from soma.model.v1.cost_service_pb2_grpc import CostServiceServicer

from services.mesh.call import page_token
from tests.fakes.fake import Fake

_PAGE_SIZE = 50


class FakeCosts(Fake, CostServiceServicer):
    """Lists `records`, newest first; a page has at most `page_size`, whatever a caller asks for."""

    def __init__(self, records: Sequence[pb.UsageRecord], page_size: int = _PAGE_SIZE) -> None:
        super().__init__()
        self.records = records
        self.page_size = page_size

    async def ListUsage(self, request: pb.ListUsageRequest, context: Any) -> pb.ListUsageResponse:
        """Page by page; a page token has the number of records before the page."""
        await self.meet("usage")
        found = [record for record in self.records if request.conversation_id in ("", record.conversation_id)]
        (start,) = page_token.read(request, int) or (0,)
        end = start + min(request.page_size or _PAGE_SIZE, self.page_size)
        token = page_token.write(request, end) if end < len(found) else ""
        return pb.ListUsageResponse(records=found[start:end], next_page_token=token)
