"""soma.orchestrator.v1.LogService: queries and tails logs."""

from collections.abc import AsyncGenerator
from typing import Any

from soma.orchestrator.v1 import log_service_pb2 as pb
from soma.orchestrator.v1 import log_service_pb2_grpc as rpc

from services.mesh.call.call import never_ends, principal
from services.orchestrator.logs.entry import EntryFilter
from services.orchestrator.logs.log import Logs


class LogService(rpc.LogServiceServicer):
    """Serves the log of the calling principal's tenant."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    async def QueryLogs(self, request: pb.QueryLogsRequest, context: Any) -> pb.QueryLogsResponse:
        return await self._logs.page(principal().tenant_id, request)

    def TailLogs(self, request: pb.TailLogsRequest, context: Any) -> AsyncGenerator[pb.TailLogsResponse, None]:
        never_ends()
        entry_filter = EntryFilter(request.task_id, request.agent_id, request.level)
        return self._logs.tail(principal().tenant_id, entry_filter, request.after)
