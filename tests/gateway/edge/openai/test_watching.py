"""`GET /v1/responses/{id}?stream=true`: the events of a response again, from the start or after a given event."""

import json
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import RESPONSE_ID, Stand

PATH = f"/v1/responses/{RESPONSE_ID}"


def events_in(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert told.pop() == "[DONE]"
    return [json.loads(each) for each in told]


async def made(http: httpx.AsyncClient, stand: Stand) -> list[dict[str, Any]]:
    """The events of a streamed response, one of them a heartbeat, which has no number."""
    stand.responses.script.insert(2, pb.CreateResponseResponse(heartbeat=Heartbeat()))
    asked = {"input": "Hi", "stream": True, "background": True}
    return events_in(await http.post("/v1/responses", json=asked))


async def test_a_watched_response_has_the_same_events_as_when_it_was_made(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    first = await made(http, stand)
    assert events_in(await http.get(PATH, params={"stream": "true"})) == first


@pytest.mark.parametrize("after", [0, 1, 4, 8])
async def test_a_watch_starts_after_the_given_event(http: httpx.AsyncClient, stand: Stand, after: int) -> None:
    first = await made(http, stand)
    rest = events_in(await http.get(PATH, params={"stream": "true", "starting_after": after}))
    assert rest == first[after + 1 :]


async def test_openais_client_resumes(http: httpx.AsyncClient, openai: AsyncOpenAI, stand: Stand) -> None:
    first = await made(http, stand)
    stream = await openai.responses.retrieve(RESPONSE_ID, stream=True, starting_after=3)
    assert [event.sequence_number async for event in stream] == list(range(4, len(first)))
    async with openai.responses.stream(response_id=RESPONSE_ID) as helped:
        assert (await helped.get_final_response()).output_text == "Hello, world"


async def test_a_watch_that_fails_does_not_say_that_the_response_failed(
    http: httpx.AsyncClient, openai: AsyncOpenAI, stand: Stand
) -> None:
    await made(http, stand)
    gone = errors.Unavailable("gone", reason="STORE_GONE")
    stand.responses.kept[RESPONSE_ID].events = [*answered("Hel")[:3], gone]
    stream = await openai.responses.retrieve(RESPONSE_ID, stream=True)
    with pytest.raises(sdk.APIError) as failed:
        assert "response.failed" not in [event.type async for event in stream]
    assert failed.value.code == "store_gone"


async def test_a_response_that_cannot_be_watched_is_an_error_status(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/responses/resp_none?stream=true")).status_code == 404
    await http.post("/v1/responses", json={"input": "Hi", "stream": True})
    answer = await http.get(f"{PATH}?stream=true")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "response_not_in_background")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=maybe", "stream"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("include_obfuscation=yes", "include_obfuscation"),
        ("until=4", "until"),
    ],
)
async def test_a_wrong_query_parameter_is_refused_by_name(
    http: httpx.AsyncClient, stand: Stand, query: str, param: str
) -> None:
    await made(http, stand)
    answer = await http.get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await http.get(f"{PATH}?stream=false&include[]=message.output_text.logprobs")).json()["id"] == RESPONSE_ID
