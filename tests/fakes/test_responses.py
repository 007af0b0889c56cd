"""What callers of a response service rely on: the same of the orchestrator's own and of the fake that stands for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import redis.asyncio as aioredis
from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2 as model
from soma.model.v1.catalog_service_pb2 import Model
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub

from services.mesh.call import errors
from services.mesh.call.status import from_rpc_error
from services.mesh.declaration import Declaration, NoSettings
from services.mesh.mesh import Mesh
from services.mesh.service import Service
from services.mesh.testing.hosted import Neighbour, hosted
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.neighbours import registrations
from services.mesh.testing.waiting import until
from services.orchestrator.main import SERVICE
from tests.fakes.catalog import FakeCatalog
from tests.fakes.model import FakeModel, answer
from tests.fakes.policy import FakePolicy
from tests.fakes.responses import FakeResponses, answered

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

    from tests.databases import OwnedDatabase

PLAIN = Model(name="plain", provider="local", default=True, capabilities=[Model.CAPABILITY_CHAT])


@dataclass
class Responses:
    """A response service; `hold` makes the next responses wait for the event, in the middle of a text."""

    stub: "ResponseServiceAsyncStub"
    hold: Callable[[asyncio.Event], None]

    async def made(self, *texts: str, **settings: Any) -> pb.Response:
        """A response to texts, whole."""
        return (await self.events(*texts, **settings))[-1].finished

    async def events(self, *texts: str, **settings: Any) -> list[pb.CreateResponseResponse]:
        """The events of a response to texts."""
        return [event async for event in self.stub.CreateResponse(asking(*texts, **settings))]

    async def begun(self, **settings: Any) -> pb.Response:
        """A response that is left at its first event."""
        call = self.stub.CreateResponse(asking("Hi", **settings))
        first: pb.CreateResponseResponse = await anext(aiter(call))
        call.cancel()
        return first.created

    async def state(self, response: pb.Response) -> "pb.Response.State.ValueType":
        """The state it has now."""
        found = await self.stub.GetResponse(pb.GetResponseRequest(response_id=response.response_id))
        return found.response.state

    async def watched(self, response: pb.Response, after: int | None = None) -> list[pb.WatchResponseResponse]:
        """Its events, or those after one."""
        request = pb.WatchResponseRequest(response_id=response.response_id, after_sequence=after)
        return [event async for event in self.stub.WatchResponse(request)]

    async def inputs(self, response: pb.Response, **asked: Any) -> pb.ListResponseInputItemsResponse:
        """A page of what it was made from."""
        request = pb.ListResponseInputItemsRequest(response_id=response.response_id, **asked)
        return await self.stub.ListResponseInputItems(request)


def asking(*texts: str, **settings: Any) -> pb.CreateResponseRequest:
    """A request for a response to texts of a user."""
    messages = [model.Message(role=model.ROLE_USER, content=text) for text in texts]
    return pb.CreateResponseRequest(
        input=[pb.ResponseInput(message=message) for message in messages], settings=pb.ResponseSettings(**settings)
    )


@asynccontextmanager
async def real(database: "OwnedDatabase", redis: aioredis.Redis) -> AsyncIterator[Responses]:
    """The orchestrator's."""
    catalog = FakeCatalog([PLAIN])
    talker = FakeModel(catalog)  # type: ignore[abstract]  # only what a turn asks
    talker.answers = [answer("Hel", "lo")]
    neighbours: dict[str, Neighbour] = {"model": (talker, catalog), "policy": (FakePolicy(),)}
    async with hosted(SERVICE, neighbours=neighbours, database=database, redis=redis, caller=SOMEBODY) as running:

        def hold(event: asyncio.Event) -> None:
            talker.answers = [answer("Hel", event, "lo")]

        yield Responses(ResponseServiceStub(running.channel), hold)


@asynccontextmanager
async def fake(_database: "OwnedDatabase", _redis: aioredis.Redis) -> AsyncIterator[Responses]:
    """The fake."""
    responses = FakeResponses(answered("Hel", "lo"))

    async def build(_mesh: Mesh, _settings: NoSettings, stack: AsyncExitStack) -> Service:
        stack.callback(responses.reset, ())
        return Service(servicers=registrations([responses]))

    async with hosted(Declaration("fake", build, NoSettings), caller=SOMEBODY) as running:
        yield Responses(ResponseServiceStub(running.channel), lambda event: responses.script.insert(3, event))


@pytest.fixture(params=[real, fake])
async def responses(
    request: pytest.FixtureRequest, database: "OwnedDatabase", redis: aioredis.Redis
) -> AsyncIterator[Responses]:
    """Each in turn."""
    async with request.param(database, redis) as made:
        yield made


async def refused(call: Awaitable[object]) -> errors.MeshError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


async def test_a_response_is_kept_until_it_is_deleted(responses: Responses) -> None:
    made = await responses.made("Hi", metadata={"a": "b"})
    found = await responses.stub.GetResponse(pb.GetResponseRequest(response_id=made.response_id))
    assert found.response == made
    assert (made.state, made.output[0].text.text) == (pb.Response.STATE_COMPLETED, "Hello")
    assert made.settings.metadata == {"a": "b"}
    await responses.stub.DeleteResponse(pb.DeleteResponseRequest(response_id=made.response_id))
    assert (await refused(responses.state(made))).reason == reasons.RESPONSE_NOT_FOUND


async def test_what_is_not_to_be_stored_is_not(responses: Responses) -> None:
    made = await responses.made("Hi", store=False)
    assert (await refused(responses.state(made))).reason == reasons.RESPONSE_NOT_FOUND
    unstored = await refused(responses.made("Hi", store=False, background=True))
    assert unstored.code == errors.Code.INVALID_ARGUMENT


async def test_the_events_of_one_made_in_the_background_are_told_again_by_their_numbers(responses: Responses) -> None:
    events = await responses.events("Hi", background=True)
    response = events[-1].finished
    assert [event.sequence for event in events] == list(range(len(events)))
    watched = await responses.watched(response)
    assert [event.SerializeToString() for event in watched] == [event.SerializeToString() for event in events]
    assert await responses.watched(response, after=2) == watched[3:]


async def test_one_that_its_caller_waits_for_is_not_watched(responses: Responses) -> None:
    made = await responses.made("Hi")
    assert (await refused(responses.watched(made))).reason == reasons.RESPONSE_NOT_IN_BACKGROUND


async def test_whoever_leaves_one_in_the_background_leaves_it_to_be_made(responses: Responses) -> None:
    released = asyncio.Event()
    responses.hold(released)
    begun = await responses.begun(background=True)
    assert await responses.state(begun) == pb.Response.STATE_IN_PROGRESS
    released.set()
    assert (await responses.watched(begun))[-1].finished.output[0].text.text == "Hello"
    assert await responses.state(begun) == pb.Response.STATE_COMPLETED


async def test_whoever_leaves_another_ends_it(responses: Responses) -> None:
    responses.hold(asyncio.Event())
    begun = await responses.begun()

    async def cancelled() -> bool:
        return await responses.state(begun) == pb.Response.STATE_CANCELLED

    await until(cancelled)


async def test_one_being_made_is_cancelled_and_its_watchers_are_told(responses: Responses) -> None:
    responses.hold(asyncio.Event())
    begun = await responses.begun(background=True)
    watching = asyncio.create_task(responses.watched(begun))
    cancel = pb.CancelResponseRequest(response_id=begun.response_id)
    assert (await responses.stub.CancelResponse(cancel)).response.state == pb.Response.STATE_CANCELLED
    assert (await watching)[-1].finished.state == pb.Response.STATE_CANCELLED


async def test_one_that_has_ended_is_not_cancelled(responses: Responses) -> None:
    made = await responses.made("Hi")
    cancel = pb.CancelResponseRequest(response_id=made.response_id)
    assert (await responses.stub.CancelResponse(cancel)).response == made


async def test_what_one_was_made_from_comes_in_pages_with_what_it_continues(responses: Responses) -> None:
    first = await responses.made("One", "Two")
    second = await responses.made("Three", previous_response_id=first.response_id)
    items = (await responses.inputs(second)).items
    assert [item.message.content for item in items] == ["One", "Two", "Hello", "Three"]
    assert items[2].item_id == first.output[0].item_id
    page = await responses.inputs(second, page_size=3)
    assert (list(page.items), page.next_page_token) == (items[:3], items[2].item_id)
    assert (await responses.inputs(second, page_token=page.next_page_token)).items == items[3:]
    assert (await responses.inputs(second, newest_first=True)).items == items[::-1]
    unknown = await refused(responses.inputs(second, page_token="nothing"))
    assert unknown.reason == reasons.PAGE_TOKEN_INVALID
