"""A response service that keeps what it is asked for."""

import asyncio
from collections.abc import AsyncIterator

from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceServicer

from services.mesh.call.errors import NotFound
from tests.sdk.kept import NOW, Trouble
from tests.sdk.scripted import USAGE


class KeptResponses(ResponseServiceServicer):
    """Answers `Hello, world` with a tool call, and goes on until `release` is set."""

    def __init__(self, trouble: Trouble) -> None:
        self.kept: dict[str, pb.Response] = {}
        self.asked: list[pb.CreateResponseRequest] = []
        self.release = asyncio.Event()
        self.release.set()
        self.left = asyncio.Event()
        self.cut = False
        self._trouble = trouble

    async def CreateResponse(
        self, request: pb.CreateResponseRequest, context: object
    ) -> AsyncIterator[pb.CreateResponseResponse]:
        """See the contract."""
        self._trouble.meet(request)
        self.asked.append(request)
        response = pb.Response(
            response_id=f"resp_{len(self.asked)}",
            state=pb.Response.STATE_IN_PROGRESS,
            create_time=NOW,
            model=request.model,
            settings=request.settings,
        )
        self.kept[response.response_id] = response
        try:
            yield pb.CreateResponseResponse(created=response)
            yield pb.CreateResponseResponse(delta=pb.ResponseTextDelta(text="Hello"))
            await self.release.wait()
            yield pb.CreateResponseResponse(delta=pb.ResponseTextDelta(text=", world"))
            if self.cut:
                return
            finish(response)
            yield pb.CreateResponseResponse(finished=response)
        finally:
            self.left.set()

    async def WatchResponse(
        self, request: pb.WatchResponseRequest, context: object
    ) -> AsyncIterator[pb.WatchResponseResponse]:
        """See the contract."""
        response = self._find(request.response_id)
        yield pb.WatchResponseResponse(created=response)
        for text in ("Hello", ", world"):
            yield pb.WatchResponseResponse(delta=pb.ResponseTextDelta(text=text))
        yield pb.WatchResponseResponse(finished=response)

    async def GetResponse(self, request: pb.GetResponseRequest, context: object) -> pb.GetResponseResponse:
        """See the contract."""
        self._trouble.meet(request)
        return pb.GetResponseResponse(response=self._find(request.response_id))

    async def ListResponseInputItems(
        self, request: pb.ListResponseInputItemsRequest, context: object
    ) -> pb.ListResponseInputItemsResponse:
        """Two items, each a page of its own."""
        self._trouble.meet(request)
        self._find(request.response_id)
        first = pb.ResponseInputItem(item_id="msg_0", message=model.Message(role=model.ROLE_USER, content="Hi"))
        second = pb.ResponseInputItem(
            item_id="fco_1", message=model.Message(role=model.ROLE_TOOL, content="42", tool_call_id="call_a")
        )
        items = [second, first] if request.newest_first else [first, second]
        if request.page_token:
            return pb.ListResponseInputItemsResponse(items=items[1:])
        return pb.ListResponseInputItemsResponse(items=items[:1], next_page_token=items[0].item_id)

    async def DeleteResponse(self, request: pb.DeleteResponseRequest, context: object) -> pb.DeleteResponseResponse:
        """See the contract."""
        self._trouble.meet(request)
        self._find(request.response_id)
        del self.kept[request.response_id]
        return pb.DeleteResponseResponse(response_id=request.response_id)

    async def CancelResponse(self, request: pb.CancelResponseRequest, context: object) -> pb.CancelResponseResponse:
        """See the contract."""
        self._trouble.meet(request)
        response = self._find(request.response_id)
        response.state = pb.Response.STATE_CANCELLED
        return pb.CancelResponseResponse(response=response)

    def _find(self, response_id: str) -> pb.Response:
        if response_id not in self.kept:
            raise NotFound(f"there is no response {response_id}", reason="RESPONSE_NOT_FOUND")
        return self.kept[response_id]


def finish(response: pb.Response) -> None:
    """Make a response whole."""
    response.state = pb.Response.STATE_COMPLETED
    response.finish_reason = model.FINISH_REASON_TOOL_CALLS
    response.model = "plain"
    response.usage.CopyFrom(USAGE)
    response.end_time.CopyFrom(NOW)
    logprob = model.TokenLogprob(token="Hello", logprob=-0.5, top=[model.TokenLogprob(token="Hi", logprob=-1)])
    text = pb.ResponseText(text="Hello, world", logprobs=[logprob])
    call = model.ToolCall(call_id="call_a", name="look_up", arguments="{}")
    response.output.extend(
        [pb.ResponseItem(item_id="msg_0", text=text), pb.ResponseItem(item_id="fc_1", tool_call=call)]
    )
    response.sources.add(key="fact/1")
    response.dropped_params.append("top_k")
