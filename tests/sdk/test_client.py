"""Both clients hold conversations, remember, and say plainly what went wrong."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import grpc
import pytest
import somamesh
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat
from somamesh import Answer, AsyncClient, Client, Memory, Model, SomaError, ToolCall, Usage

from services.mesh import errors
from tests.sdk.conftest import KEY, Server
from tests.sdk.scripted import Step, broken, spoken

R = TypeVar("R")
HELLO = Answer(
    id="t1",
    text="Hello, world",
    tool_calls=(),
    model="plain",
    conversation="c1",
    finish_reason="stop",
    usage=Usage(5, 2, 7),
    sources=("fact/1",),
    time_to_first_token=0.25,
    duration=0.5,
)


async def synchronously(server: Server, use: Callable[[Client], R]) -> R:
    """What `use` makes of the client without asyncio, in a thread of its own."""

    def run() -> R:
        with Client(server.url, KEY) as client:
            return use(client)

    return await asyncio.to_thread(run)


async def test_a_turn_comes_to_an_answer(server: Server, soma: AsyncClient) -> None:
    assert await soma.chat("Hi", model="plain", conversation="c1", temperature=0.5, max_tokens=9) == HELLO
    assert server.chat.requests == [
        chat.ChatRequest(
            model="plain",
            conversation_id="c1",
            messages=[model.Message(role=model.ROLE_USER, content="Hi")],
            sampling=model.Sampling(temperature=0.5, max_tokens=9),
        )
    ]


async def test_messages_carry_their_roles(server: Server, soma: AsyncClient) -> None:
    await soma.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi", "name": "eve"}])
    assert list(server.chat.requests[0].messages) == [
        model.Message(role=model.ROLE_SYSTEM, content="Be brief."),
        model.Message(role=model.ROLE_USER, content="Hi", name="eve"),
    ]
    with pytest.raises(ValueError, match="a message's role is one of"):
        await soma.chat([{"role": "god", "content": "Hi"}])


async def test_an_answer_streams_as_text_and_is_whole_at_the_end(soma: AsyncClient) -> None:
    async with await soma.chat("Hi", stream=True) as answer:
        assert [piece async for piece in answer] == ["Hello", ", world"]
    assert await answer.answer() == HELLO


async def test_the_sync_client_holds_the_same_conversation(server: Server) -> None:
    def converse(client: Client) -> tuple[Answer, list[str], Answer]:
        with client.chat("Hi", stream=True) as answer:
            pieces = list(answer)
        return client.chat("Hi"), pieces, answer.answer()

    assert await synchronously(server, converse) == (HELLO, ["Hello", ", world"], HELLO)


async def test_pieces_of_tool_calls_are_put_together(server: Server, soma: AsyncClient) -> None:
    first = model.ToolCallDelta(index=0, call_id="call_a", name="look_up", arguments='{"q":')
    more = model.ToolCallDelta(index=0, arguments="1}")
    whole = spoken()
    server.chat.script = [
        whole[0],
        chat.ChatResponse(tool_call=first),
        chat.ChatResponse(tool_call=more),
        whole[-1],
    ]
    answer = await soma.chat("Hi")
    assert answer.tool_calls == (ToolCall("call_a", "look_up", '{"q":1}'),)


async def test_every_call_has_a_key_an_id_and_a_deadline(server: Server, soma: AsyncClient) -> None:
    await soma.chat("Hi", timeout=20)
    assert 0 < server.chat.seconds_left < 22
    assert server.chat.metadata["authorization"] == f"Bearer {KEY}"
    first = server.chat.metadata["x-request-id"]
    await soma.chat("Hi")
    assert server.chat.metadata["x-request-id"] != first
    assert 22 < server.chat.seconds_left < 602


CUT: list[Sequence[Step]] = [[], spoken("Hel")[:1], spoken("Hel")[:-1]]


@pytest.mark.parametrize("script", CUT)
async def test_an_answer_that_was_cut_is_never_taken_for_complete(
    server: Server, soma: AsyncClient, script: Sequence[Step]
) -> None:
    server.chat.script = script
    with pytest.raises(somamesh.Unavailable) as caught:
        await soma.chat("Hi")
    assert caught.value.reason == "STREAM_CUT"

    def stream(client: Client) -> list[str]:
        return list(client.chat("Hi", stream=True))

    with pytest.raises(somamesh.Unavailable):
        await synchronously(server, stream)


async def test_a_failure_inside_a_stream_is_raised_after_what_came_before_it(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_SPENT")]
    pieces: list[str] = []

    async def read() -> None:
        async for piece in await soma.chat("Hi", stream=True):
            pieces.append(piece)

    with pytest.raises(somamesh.RateLimited) as caught:
        await read()
    assert pieces == ["Hel"]
    assert (caught.value.reason, caught.value.retry_after) == ("BUDGET_SPENT", 2)


async def test_leaving_a_stream_ends_the_turn(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]
    async with await soma.chat("Hi", stream=True) as answer:
        assert await anext(aiter(answer)) == "Hel"
    async with asyncio.timeout(5):
        await server.chat.ended.wait()
    with pytest.raises(somamesh.Unavailable):
        await answer.answer()


async def test_leaving_a_sync_stream_ends_the_turn(server: Server) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]

    def leave(client: Client) -> str:
        with client.chat("Hi", stream=True) as answer:
            return next(iter(answer))

    assert await synchronously(server, leave) == "Hel"
    async with asyncio.timeout(5):
        await server.chat.ended.wait()


KINDS: list[tuple[errors.MeshError, type[SomaError]]] = [
    (errors.InvalidArgument("no"), somamesh.InvalidRequest),
    (errors.FailedPrecondition("no"), somamesh.InvalidRequest),
    (errors.Unimplemented("no"), somamesh.InvalidRequest),
    (errors.Unauthenticated("no"), somamesh.Unauthenticated),
    (errors.PermissionDenied("no", reason="POLICY_DENIED"), somamesh.PermissionDenied),
    (errors.NotFound("no"), somamesh.NotFound),
    (errors.AlreadyExists("no"), somamesh.Conflict),
    (errors.Aborted("no"), somamesh.Conflict),
    (errors.ResourceExhausted("no", retry_after=1.5), somamesh.RateLimited),
    (errors.Unavailable("no"), somamesh.Unavailable),
    (errors.DeadlineExceeded("no"), somamesh.DeadlineExceeded),
    (errors.Internal("no"), somamesh.ServerError),
]


@pytest.mark.parametrize(("failure", "kind"), KINDS)
async def test_every_failure_is_a_typed_exception_with_reason_and_request_id(
    server: Server, soma: AsyncClient, failure: errors.MeshError, kind: type[SomaError]
) -> None:
    server.chat.script = [failure]
    with pytest.raises(kind) as caught:
        await soma.chat("Hi")
    raised = caught.value
    assert (raised.message, raised.reason, raised.status) == ("no", failure.reason, failure.code.name)
    assert raised.retry_after == failure.facts.retry_after
    assert raised.request_id == server.chat.metadata["x-request-id"]


async def test_a_wrong_field_is_named(soma: AsyncClient) -> None:
    with pytest.raises(somamesh.InvalidRequest) as caught:
        await soma.chat("Hi", temperature=3)
    assert list(caught.value.fields) == ["sampling.temperature"]


async def test_a_wrong_key_is_unauthenticated(server: Server) -> None:
    async with AsyncClient(server.url, "wrong") as client:
        with pytest.raises(somamesh.Unauthenticated) as caught:
            await client.models()
    assert caught.value.reason == "CREDENTIAL_INVALID"


async def test_a_call_that_takes_too_long_is_given_up(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [asyncio.Event()]
    with pytest.raises(somamesh.DeadlineExceeded):
        await soma.chat("Hi", timeout=0.1)


async def test_a_mesh_that_is_not_there_is_unavailable() -> None:
    async with AsyncClient("http://127.0.0.1:9", KEY) as client:
        with pytest.raises(somamesh.Unavailable):
            await client.models()


async def test_what_is_remembered_is_recalled_and_found_as_the_same_python_value(
    server: Server, soma: AsyncClient
) -> None:
    value = {"name": "Ada", "age": 3, "weight": 4.5, "likes": ["tuna", None, True]}
    await soma.remember("cats/ada", value, metadata={"category": "cats"}, ttl_seconds=60)
    assert server.memory.kept["cats/ada"].ttl_seconds == 60
    assert await soma.recall("cats/ada") == Memory("cats/ada", value, {"category": "cats"})
    found = await soma.retrieve("cat food", top_k=3, score_threshold=0.5, where={"category": "cats"})
    assert found == [Memory("cats/ada", value, {"category": "cats"}, 0.75)]
    asked = server.memory.retrieved
    assert asked is not None
    assert (asked.top_k, asked.score_threshold, asked.filter["category"]) == (3, 0.5, "cats")


async def test_the_sync_client_remembers_too(server: Server) -> None:
    def use(client: Client) -> tuple[Memory, list[Memory], list[Model]]:
        client.remember("k", "plain text")
        return client.recall("k"), client.retrieve("text"), client.models()

    recalled, found, models = await synchronously(server, use)
    assert recalled == Memory("k", "plain text")
    assert found == [Memory("k", "plain text", {}, 0.75)]
    assert models == [Model("plain", "local", default=True, available=True, unavailable_reason="")]


async def test_what_was_never_remembered_is_not_found(server: Server, soma: AsyncClient) -> None:
    with pytest.raises(somamesh.NotFound) as caught:
        await soma.recall("nothing")
    assert caught.value.reason == "MEMORY_NOT_FOUND"
    with pytest.raises(somamesh.NotFound):
        await synchronously(server, lambda client: client.recall("nothing"))


async def test_what_is_not_json_is_refused_before_it_is_sent(server: Server, soma: AsyncClient) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        await soma.remember("k", object())
    assert not server.memory.kept
