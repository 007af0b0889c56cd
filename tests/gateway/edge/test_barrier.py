"""No client gets the end of an answer before what the answer depends on is durable."""

import asyncio

import httpx
import pytest
from soma.errors.v1 import reasons

from services.mesh.call.errors import Unavailable
from tests.fakes.chat import delta, finished, started
from tests.gateway.edge.conftest import Stand


@pytest.fixture
async def durable() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def begun(stand: Stand, http: httpx.AsyncClient, stream: bool) -> "asyncio.Task[httpx.Response]":
    """A request whose turn has begun; the next ones are answered meanwhile."""
    body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
    await stand.chat.begun.wait()
    for _ in range(3):
        assert (await http.get("/v1/models")).status_code == 200
    return asking


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_of_an_answer_waits(
    stand: Stand, http: httpx.AsyncClient, durable: "asyncio.Future[None]", stream: bool
) -> None:
    stand.chat.reset([started(), delta("Hello"), durable, finished()])
    asking = await begun(stand, http, stream)
    assert not asking.done()
    durable.set_result(None)
    answer = await asking
    assert answer.status_code == 200
    assert "Hello" in answer.text
    assert answer.text.endswith("data: [DONE]\n\n") == stream


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_cannot_be_recorded_is_an_error(
    stand: Stand, http: httpx.AsyncClient, durable: "asyncio.Future[None]", stream: bool
) -> None:
    stand.chat.reset([started(), durable, finished()])
    asking = await begun(stand, http, stream)
    durable.set_exception(Unavailable("the store is away", reason=reasons.POSTGRES_UNAVAILABLE))
    answer = await asking
    assert answer.status_code == 503
    assert "DONE" not in answer.text


async def test_the_work_for_a_client_that_has_left_ends(
    stand: Stand, http: httpx.AsyncClient, durable: "asyncio.Future[None]"
) -> None:
    stand.chat.reset([started(), delta("Hello"), durable, finished()])
    asking = await begun(stand, http, stream=True)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    durable.set_result(None)
    await stand.chat.ended.wait()
    assert stand.chat.active == 0
