"""soma.orchestrator.v1.LogService over logs."""

from collections.abc import AsyncGenerator
from typing import Any

from soma.orchestrator.v1 import log_service_pb2 as pb
from soma.orchestrator.v1 import log_service_pb2_grpc as rpc

from services.mesh.call.call import never_ends, principal
from services.orchestrator.logs.entry import Wanted
from services.orchestrator.logs.reading import Logs


class LogService(rpc.LogServiceServicer):
    """Everything is the tenant's whose principal calls."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    async def QueryLogs(self, request: pb.QueryLogsRequest, context: Any) -> pb.QueryLogsResponse:
        """See the contract."""
        return await self._logs.page(principal().tenant_id, request)

    def TailLogs(self, request: pb.TailLogsRequest, context: Any) -> AsyncGenerator[pb.TailLogsResponse, None]:
        """See the contract."""
        never_ends()
        wanted = Wanted(request.task_id, request.agent_id, request.level)
        return self._logs.tail(principal().tenant_id, wanted, request.after)
