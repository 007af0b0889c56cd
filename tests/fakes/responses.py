"""A fake of the response service: makes what a test gives it, in the background if asked to, and keeps it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp
from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import StreamError
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceServicer

from services.mesh.call import errors, page_token
from tests.fakes.chat import USAGE
from tests.fakes.fake import Fake

Told: TypeAlias = pb.CreateResponseResponse | BaseException
"""An event is sent, an exception raised."""
Step: TypeAlias = Told | asyncio.Event
"""An `asyncio.Event` is waited for."""

_PAGE_SIZE = 20


def response_id(number: int) -> str:
    """The id of the response that is made as the `number`th, from 1."""
    return f"resp_{number:032x}"


@dataclass
class Made:
    """A response, what it was made from, and its events as far as there are any."""

    response: pb.Response
    inputs: list[pb.ResponseInputItem] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)
    making: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> AsyncGenerator[pb.CreateResponseResponse, None]:
        """Its events, until no more are made."""
        told = 0
        while True:
            changed = self.changed
            while told < len(self.events):
                event = self.events[told]
                told += 1
                if isinstance(event, BaseException):
                    raise event
                yield event
            if self.making is None:
                return
            await changed.wait()

    def note(self, *events: Told) -> None:
        """Tell the followers of the next events, or that there are no more."""
        self.events += events
        self.changed.set()
        self.changed = asyncio.Event()

    def cancel(self) -> None:
        """Make no more of it."""
        if self.response.state == pb.Response.STATE_IN_PROGRESS:
            self.response.state = pb.Response.STATE_CANCELLED
            self.response.end_time.GetCurrentTime()
            self.note(pb.CreateResponseResponse(sequence=len(self.events), finished=self.response))
        if self.making is not None:
            self.making.cancel()


class FakeResponses(Fake, ResponseServiceServicer):
    """Makes responses and keeps them.

    Attributes:
        script: what the next responses do; the fake adds ids, numbers and settings to the events.
        requests: those for new responses; `listed` are those for input items.
        compacted: those for shorter conversations, of which the messages of the user stay.
        counted: those for numbers of tokens; each has seven.
        kept: by id; a test may change them.
        page_size: most items in a page, whatever a caller asks for.
        ended: set once a response is over or was left.
    """

    def __init__(self, script: Iterable[Step]) -> None:
        super().__init__()
        self.kept: dict[str, Made] = {}
        self.reset(script)

    def reset(self, script: Iterable[Step]) -> None:
        """Forget what came before."""
        for made in self.kept.values():
            made.cancel()
        self.script = list(script)
        self.requests: list[pb.CreateResponseRequest] = []
        self.listed: list[pb.ListResponseInputItemsRequest] = []
        self.compacted: list[pb.CompactResponseRequest] = []
        self.counted: list[pb.CountResponseTokensRequest] = []
        self.kept = {}
        self.page_size = _PAGE_SIZE
        self.ended = asyncio.Event()

    async def CreateResponse(
        self, request: pb.CreateResponseRequest, context: Any
    ) -> AsyncIterator[pb.CreateResponseResponse]:
        await self.meet("create")
        self.requests.append(request)
        settings = request.settings
        stored = not settings.HasField("store") or settings.store
        if settings.background and not stored:
            raise errors.InvalidArgument("a response that is made in the background has to be stored")
        named = response_id(len(self.requests))
        begun = pb.Response(response_id=named, state=pb.Response.STATE_IN_PROGRESS, settings=settings)
        made = Made(begun, self._inputs(request))
        if stored:
            self.kept[named] = made
        made.making = asyncio.create_task(self._make(made))
        made.making.add_done_callback(lambda _: self._over(made))
        try:
            async for event in made.follow():
                yield event
        finally:
            if not settings.background:
                made.cancel()

    async def _make(self, made: Made) -> None:
        for step in self.script:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, BaseException):
                _fail(made, step)
                return
            else:
                event = pb.CreateResponseResponse(sequence=len(made.events))
                event.MergeFrom(step)
                if (kind := event.WhichOneof("payload")) in ("created", "finished"):
                    whole: pb.Response = getattr(event, kind)
                    whole.response_id = made.response.response_id
                    whole.settings.CopyFrom(made.response.settings)
                    made.response.CopyFrom(whole)
                made.note(event)

    def _over(self, made: Made) -> None:
        made.making = None
        made.note()
        self.ended.set()

    async def WatchResponse(
        self, request: pb.WatchResponseRequest, context: Any
    ) -> AsyncIterator[pb.WatchResponseResponse]:
        await self.meet("watch")
        made = self._find(request.response_id)
        if not made.response.settings.background:
            raise errors.FailedPrecondition(
                "this response was not made in the background", reason=reasons.RESPONSE_NOT_IN_BACKGROUND
            )
        after = request.after_sequence if request.HasField("after_sequence") else -1
        async with aclosing(made.follow()) as events:
            async for event in events:
                if event.sequence > after and event.WhichOneof("payload") not in ("policy", "heartbeat"):
                    yield pb.WatchResponseResponse.FromString(event.SerializeToString())

    async def GetResponse(self, request: pb.GetResponseRequest, context: Any) -> pb.GetResponseResponse:
        await self.meet("get")
        return pb.GetResponseResponse(response=self._find(request.response_id).response)

    async def ListResponseInputItems(
        self, request: pb.ListResponseInputItemsRequest, context: Any
    ) -> pb.ListResponseInputItemsResponse:
        await self.meet("list")
        self.listed.append(request)
        items = self._find(request.response_id).inputs
        if request.newest_first:
            items = items[::-1]
        places = {item.item_id: place for place, item in enumerate(items, 1)}
        if request.page_token and request.page_token not in places:
            raise page_token.refusal(f"Item with id '{request.page_token}' not found.")
        start = places.get(request.page_token, 0)
        end = start + min(request.page_size or _PAGE_SIZE, self.page_size)
        token = items[end - 1].item_id if end < len(items) else ""
        return pb.ListResponseInputItemsResponse(items=items[start:end], next_page_token=token)

    async def DeleteResponse(self, request: pb.DeleteResponseRequest, context: Any) -> pb.DeleteResponseResponse:
        await self.meet("delete")
        self._find(request.response_id).cancel()
        del self.kept[request.response_id]
        return pb.DeleteResponseResponse(response_id=request.response_id)

    async def CancelResponse(self, request: pb.CancelResponseRequest, context: Any) -> pb.CancelResponseResponse:
        await self.meet("cancel")
        made = self._find(request.response_id)
        made.cancel()
        return pb.CancelResponseResponse(response=made.response)

    async def CompactResponse(self, request: pb.CompactResponseRequest, context: Any) -> pb.CompactResponseResponse:
        await self.meet("compact")
        self.compacted.append(request)
        said = [each.message for each in request.input if each.message.role == model.ROLE_USER]
        return pb.CompactResponseResponse(
            compaction_id="cmpr_7",
            create_time=Timestamp(seconds=1_700_000_000),
            model="plain",
            items=[pb.ResponseInputItem(item_id=f"msg_7_i{index}", message=each) for index, each in enumerate(said)],
            compaction=pb.Compaction(item_id="cmp_7", encrypted_content="sealed", replaced_items=2),
            usage=USAGE,
        )

    async def CountResponseTokens(
        self, request: pb.CountResponseTokensRequest, context: Any
    ) -> pb.CountResponseTokensResponse:
        await self.meet("count")
        self.counted.append(request)
        return pb.CountResponseTokensResponse(input_tokens=7, estimated=True, model="plain", provider="local")

    def _find(self, name: str) -> Made:
        if name not in self.kept:
            raise errors.NotFound(f"Response with id '{name}' not found.", reason=reasons.RESPONSE_NOT_FOUND)
        return self.kept[name]

    def _inputs(self, request: pb.CreateResponseRequest) -> list[pb.ResponseInputItem]:
        """What a response is made from: all of the one it continues, then its own messages."""
        items: list[pb.ResponseInputItem] = []
        if (before := self.kept.get(request.settings.previous_response_id)) is not None:
            items += before.inputs
            for said in before.response.output:
                message = model.Message(role=model.ROLE_ASSISTANT, content=said.text.text)
                if said.HasField("tool_call"):
                    message.tool_calls.append(said.tool_call)
                elif said.HasField("reasoning"):
                    message.parts.add(reasoning=said.reasoning)
                items.append(pb.ResponseInputItem(item_id=said.item_id, message=message))
        for each in request.input:
            kind = "fco" if each.message.role == model.ROLE_TOOL else "msg"
            items.append(pb.ResponseInputItem(item_id=f"{kind}_{len(items)}", message=each.message))
        return items


def _fail(made: Made, failure: BaseException) -> None:
    made.response.state = pb.Response.STATE_FAILED
    if isinstance(failure, errors.MeshError):
        said = StreamError(code=failure.code, status=failure.code.name, reason=failure.reason, message=failure.message)
        made.response.error.CopyFrom(said)
    made.note(failure)


def answered(
    *texts: str, state: "pb.Response.State.ValueType" = pb.Response.STATE_COMPLETED, item_id: str = "msg_7_0"
) -> list[pb.CreateResponseResponse]:
    """A whole response that says `texts`."""
    event = pb.CreateResponseResponse
    begun = pb.Response(
        model="plain", state=pb.Response.STATE_IN_PROGRESS, create_time=Timestamp(seconds=1_700_000_000)
    )
    item = pb.ResponseItem(item_id=item_id, text=pb.ResponseText(text="".join(texts)))
    whole = pb.Response(
        model="plain",
        state=state,
        create_time=begun.create_time,
        end_time=Timestamp(seconds=1_700_000_001),
        output=[item],
        usage=USAGE,
    )
    opening = pb.ResponseItem(item_id=item_id, text=pb.ResponseText())
    return [
        event(created=begun),
        event(item_begun=pb.ResponseItemEvent(item=opening)),
        *(event(delta=pb.ResponseTextDelta(text=text)) for text in texts),
        event(item_done=pb.ResponseItemEvent(item=item)),
        event(finished=whole),
    ]
