"""EventService: it shows a tenant the state of its events."""

import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
from soma.events.v1.event_pb2 import Event
from soma.mesh.v1 import event_service_pb2 as pb
from soma.mesh.v1.event_service_pb2_grpc import EventServiceStub

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.events.service import event_service
from services.mesh.testing.local import SOMEBODY, LocalMesh
from tests.mesh.events.conftest import SOLD, Shop, caught_up, noting, number_of

if TYPE_CHECKING:
    from soma.mesh.v1.event_service_pb2_grpc import EventServiceAsyncStub

    from services.mesh.stores.postgres import Connection

GLOBEX = Principal("globex", "gil", scopes=frozenset({"*"}))
DEAD, REPLAYING, HANDLED = pb.DeadLetter.STATE_DEAD, pb.DeadLetter.STATE_REPLAYING, pb.DeadLetter.STATE_HANDLED


@pytest.fixture
async def events(shop: Shop) -> AsyncIterator["EventServiceAsyncStub"]:
    """The service behind the mesh's pipeline."""
    mesh = LocalMesh([event_service(shop.pool, shop.redis)])
    yield EventServiceStub(mesh.channel)
    await mesh.channel.close()


async def refusing(connection: "Connection", event: Event) -> None:
    """Refuse odd items."""
    if number_of(event) % 2:
        raise errors.FailedPrecondition("odd")
    await noting("stock")(connection, event)


async def given_up(shop: Shop, *numbers: int, service: str = "stock") -> None:
    """Let a service give up odd items."""
    follow = shop.following(service, refusing)
    await follow.step()
    await shop.sell(*numbers)
    await shop.relayed()
    while True:
        try:
            await caught_up(follow)
        except errors.FailedPrecondition:
            continue
        return


async def listed(events: "EventServiceAsyncStub", **fields: object) -> list[pb.DeadLetter]:
    """A page of acme's dead letters."""
    with run_as(SOMEBODY):
        response = await events.ListDeadLetters(pb.ListDeadLettersRequest(**fields))  # type: ignore[arg-type]
    return list(response.dead_letters)


async def replayed(events: "EventServiceAsyncStub", letter: pb.DeadLetter) -> pb.DeadLetter:
    """Replay a letter, and return it."""
    with run_as(SOMEBODY):
        request = pb.ReplayDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
        return (await events.ReplayDeadLetter(request)).dead_letter


async def test_dead_letters_are_listed_newest_first_by_page_consumer_and_type(
    shop: Shop, events: "EventServiceAsyncStub"
) -> None:
    await given_up(shop, 1, 2, 3, 5)
    await given_up(shop, 7, service="accounts")
    every = await listed(events)
    # The other service started with the events from before its first start.
    assert [(each.consumer, each.event_id[-1]) for each in every] == [
        ("accounts", "7"),
        ("accounts", "5"),
        ("accounts", "3"),
        ("accounts", "1"),
        ("stock", "5"),
        ("stock", "3"),
        ("stock", "1"),
    ]
    first = every[-1]
    assert (first.type, first.reason, first.error, first.attempts) == (SOLD, "FAILED_PRECONDITION", "odd", 5)
    assert first.state == DEAD
    assert first.create_time.seconds > 0
    assert [each.consumer for each in await listed(events, consumer="stock")] == ["stock"] * 3
    assert len(await listed(events, type=SOLD)) == 7
    assert not await listed(events, type="shop.item.returned")
    pages: list[list[pb.DeadLetter]] = []
    token = ""
    while not pages or token:
        with run_as(SOMEBODY):
            page = await events.ListDeadLetters(pb.ListDeadLettersRequest(page_size=3, page_token=token))
        pages.append(list(page.dead_letters))
        token = page.next_page_token
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == every


async def test_another_tenant_sees_and_replays_nothing(shop: Shop, events: "EventServiceAsyncStub") -> None:
    await given_up(shop, 1)
    (letter,) = await listed(events)
    with run_as(GLOBEX):
        assert not (await events.ListDeadLetters(pb.ListDeadLettersRequest())).dead_letters
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await events.ReplayDeadLetter(pb.ReplayDeadLetterRequest(dead_letter_id=letter.dead_letter_id))
    error = from_rpc_error(raised.value)
    assert (error.code, error.reason) == (errors.Code.NOT_FOUND, "DEAD_LETTER_NOT_FOUND")
    assert [each.state for each in await listed(events)] == [DEAD]


async def test_an_unknown_letter_is_not_found(events: "EventServiceAsyncStub") -> None:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        await events.ReplayDeadLetter(pb.ReplayDeadLetterRequest(dead_letter_id=str(uuid.uuid4())))
    assert from_rpc_error(raised.value).reason == "DEAD_LETTER_NOT_FOUND"


async def test_a_replayed_letter_is_handled_once_by_its_consumer_alone(
    shop: Shop, events: "EventServiceAsyncStub"
) -> None:
    await given_up(shop, 1)
    await caught_up(shop.following("accounts"))
    (letter,) = await listed(events)
    assert (await replayed(events, letter)).state == REPLAYING
    assert (await replayed(events, letter)).state == REPLAYING
    assert [each.state for each in await listed(events)] == [REPLAYING]
    assert await shop.kept() == 2
    await shop.relayed()
    await caught_up(shop.following("accounts"))
    await caught_up(shop.following("stock"))
    assert await shop.effects("stock") == [1]
    assert await shop.effects("accounts") == [1]
    assert not await listed(events)
    assert (await replayed(events, letter)).state == HANDLED
    await shop.relayed()
    await caught_up(shop.following("stock"))
    assert await shop.effects("stock") == [1]


async def test_a_replayed_letter_that_fails_again_keeps_its_id(shop: Shop, events: "EventServiceAsyncStub") -> None:
    await given_up(shop, 1)
    (letter,) = await listed(events)
    await replayed(events, letter)
    await given_up(shop)
    (again,) = await listed(events)
    assert (again.dead_letter_id, again.state, again.attempts) == (letter.dead_letter_id, DEAD, 5)
    assert not await shop.effects()


async def test_an_invalid_entry_is_still_one_letter_after_a_replay(shop: Shop, events: "EventServiceAsyncStub") -> None:
    await caught_up(shop.following())
    await shop.pool.execute("INSERT INTO shop.outbox (tenant_id, aggregate, event) VALUES ('acme', '', '\\xff')")
    await shop.relayed()
    await caught_up(shop.following())
    (letter,) = await listed(events)
    await replayed(events, letter)
    await shop.relayed()
    await caught_up(shop.following())
    (again,) = await listed(events)
    assert (again.dead_letter_id, again.state, again.type) == (letter.dead_letter_id, DEAD, "")


async def test_streams_are_listed_with_the_lag_of_each_consumer(shop: Shop, events: "EventServiceAsyncStub") -> None:
    await caught_up(shop.following("accounts"))
    await shop.sell(1, 2)
    await shop.relayed()
    await caught_up(shop.following("stock"))
    await shop.sell(3)
    with run_as(SOMEBODY):
        response = await events.ListEventStreams(pb.ListEventStreamsRequest())
    found = {stream.area: stream for stream in response.streams}
    assert found.keys() == {"memory", "model", "shop"}
    assert (found["shop"].length, found["shop"].waiting) == (2, 1)
    assert [(group.consumer, group.lag, group.pending) for group in found["shop"].groups] == [
        ("accounts", 3, 0),
        ("stock", 1, 0),
    ]
    assert not found["memory"].groups
