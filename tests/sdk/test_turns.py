"""Both clients run turns, and a turn returns a whole answer or raises an error."""

import asyncio
import gc
from collections.abc import Sequence

import grpc
import pytest
import somamesh
from soma.memory.v1 import memory_service_pb2 as memory
from soma.model.v1 import message_pb2 as model
from soma.model.v1 import model_service_pb2 as generation
from soma.model.v1 import options_pb2
from soma.orchestrator.v1 import chat_service_pb2 as chat
from somamesh import (
    Answer,
    AsyncClient,
    Citation,
    Client,
    Event,
    Message,
    Notice,
    Reasoning,
    Rule,
    TokenLogprob,
    Tool,
    ToolCall,
    Usage,
)
from somamesh.answers import Turn

from services.mesh.call import errors
from tests.fakes.chat import Step, broken, finished, noticed, refused, spoken, started, thought, tool_call
from tests.sdk.conftest import KEY, Server
from tests.sdk.drivers import Driver

HELLO = Answer(
    id="t1",
    text="Hello, world",
    tool_calls=(),
    model="plain",
    conversation="c1",
    finish_reason="stop",
    usage=Usage(5, 2, 7),
    sources=("fact/1",),
    notices=(),
    time_to_first_token=0.25,
    duration=0.5,
)


async def test_a_turn_returns_the_answer(server: Server, client: Driver) -> None:
    assert await client.call("chat", "Hi", model="plain", conversation="c1", temperature=0.5, max_tokens=9) == HELLO
    assert server.chat.requests == [
        chat.ChatRequest(
            model="plain",
            conversation_id="c1",
            messages=[model.Message(role=model.ROLE_USER, content="Hi")],
            options=options_pb2.GenerationOptions(
                sampling=options_pb2.Sampling(temperature=0.5, max_tokens=9), whole=True
            ),
        )
    ]


async def test_an_answer_streams_as_text_and_is_whole_at_the_end(client: Driver) -> None:
    assert await client.stream("stream_chat", "Hi") == (["Hello", ", world"], HELLO)


async def test_messages_carry_their_roles(server: Server, client: Driver) -> None:
    said = [{"role": "system", "content": "Be brief."}, Message("user", "Hi", name="eve")]
    await client.call("chat", said)
    assert list(server.chat.requests[0].messages) == [
        model.Message(role=model.ROLE_SYSTEM, content="Be brief."),
        model.Message(role=model.ROLE_USER, content="Hi", name="eve"),
    ]
    with pytest.raises(ValueError, match="a message's role is one of"):
        await client.call("chat", [{"role": "god", "content": "Hi"}])


async def test_every_option_reaches_the_contract(server: Server, client: Driver) -> None:
    schema = {"title": "cat", "type": "object"}
    await client.call(
        "chat",
        "Hi",
        strategy="long_only",
        context_token_budget=100,
        tools=[Tool("look_up", "Looks up.", {"type": "object"}, strict=True)],
        tool_choice="look_up",
        parallel_tool_calls=False,
        response_format=schema,
        stop_sequences=["."],
        top_logprobs=2,
        reasoning_effort="low",
        reasoning_budget_tokens=2048,
        user="eve",
        drop_params=True,
        provider_params={"min_p": 0.5, "logit_bias": {"1": 2}},
    )
    assert server.chat.requests[0] == chat.ChatRequest(
        messages=[model.Message(role=model.ROLE_USER, content="Hi")],
        strategy=memory.STRATEGY_LONG_ONLY,
        context_token_budget=100,
        options=options_pb2.GenerationOptions(
            tools=[
                options_pb2.Tool(name="look_up", description="Looks up.", parameters='{"type": "object"}', strict=True)
            ],
            tool_choice=options_pb2.ToolChoice(mode=options_pb2.ToolChoice.MODE_NAMED, name="look_up"),
            parallel_tool_calls=False,
            response_format=options_pb2.ResponseFormat(
                type=options_pb2.ResponseFormat.TYPE_JSON_SCHEMA,
                name="cat",
                schema='{"title": "cat", "type": "object"}',
            ),
            sampling=options_pb2.Sampling(stop_sequences=["."], top_logprobs=2),
            reasoning=options_pb2.ReasoningOptions(effort="low", budget_tokens=2048),
            user="eve",
            drop_params=True,
            provider_params='{"min_p": 0.5, "logit_bias": {"1": 2}}',
            whole=True,
        ),
    )


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"temprature": 1}, TypeError),
        ({"strategy": "medium"}, ValueError),
        ({"response_format": "yaml"}, ValueError),
        ({"provider_params": {"min_p": float("nan")}}, ValueError),
        ({"provider_params": "min_p"}, TypeError),
    ],
)
async def test_an_invalid_option_is_refused_before_it_is_sent(
    server: Server, client: Driver, wrong: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await client.call("chat", "Hi", **wrong)
    assert server.chat.requests == []


async def test_pieces_of_tool_calls_are_put_together_and_go_back_with_their_result(
    server: Server, soma: AsyncClient
) -> None:
    pieces = [tool_call(0, "call_a", "look_up", '{"q":'), tool_call(1, "call_b", "wait"), tool_call(0, arguments="1}")]
    server.chat.script = [started(), *pieces, finished()]
    answer = await soma.chat("Hi")
    assert answer.tool_calls == (ToolCall("call_a", "look_up", '{"q":1}'), ToolCall("call_b", "wait", ""))
    assert answer.message == Message("assistant", tool_calls=answer.tool_calls)

    await soma.chat([Message("user", "Hi"), answer.message, Message("tool", "42", tool_call_id="call_a")])
    asked, result = server.chat.requests[1].messages[1:]
    assert asked.tool_calls == [
        model.ToolCall(call_id="call_a", name="look_up", arguments='{"q":1}'),
        model.ToolCall(call_id="call_b", name="wait"),
    ]
    assert result == model.Message(role=model.ROLE_TOOL, content="42", tool_call_id="call_a")


THINKING = [
    chat.ChatResponse(started=chat.ChatStarted(chat_id="t1", model="plain", provider="lab")),
    thought(0, "The user "),
    thought(0, "says Hi."),
    thought(0, signature="sig-0", details='{"n": 1}'),
    thought(1, redacted="secret"),
    chat.ChatResponse(
        delta=model.Delta(text="Hello", citations=[model.Citation(url="https://a.b", title="A", start=0, end=5)])
    ),
    chat.ChatResponse(delta=model.Delta(tool_calls=[model.ToolCallDelta(call_id="call_a", name="f", signature="sig")])),
    finished(model.FINISH_REASON_TOOL_CALLS),
]
THOUGHTS = (
    Reasoning("The user says Hi.", "sig-0", provider="lab", details='{"n": 1}'),
    Reasoning(redacted="secret", provider="lab"),
)


async def test_thoughts_and_signatures_go_back_with_the_result_of_a_tool_call(server: Server, client: Driver) -> None:
    server.chat.script = THINKING
    answer = await client.call("chat", "Hi")
    assert answer.reasoning == THOUGHTS
    assert answer.citations == (Citation("https://a.b", "A", "", 0, 5),)
    assert (answer.text, answer.tool_calls) == ("Hello", (ToolCall("call_a", "f", "", "sig"),))
    assert answer.message.text == "Hello"

    await client.call("chat", [Message("user", "Hi"), answer.message, Message("tool", "42", tool_call_id="call_a")])
    assert server.chat.requests[1].messages[1] == model.Message(
        role=model.ROLE_ASSISTANT,
        parts=[
            model.Part(
                reasoning=model.Reasoning(
                    text="The user says Hi.", signature="sig-0", provider="lab", details='{"n": 1}'
                )
            ),
            model.Part(reasoning=model.Reasoning(redacted="secret", provider="lab")),
            model.Part(
                text=model.Text(text="Hello", citations=[model.Citation(url="https://a.b", title="A", start=0, end=5)])
            ),
        ],
        tool_calls=[model.ToolCall(call_id="call_a", name="f", signature="sig")],
    )


async def test_events_of_a_stream_have_the_thoughts_and_the_text_in_their_order(server: Server, client: Driver) -> None:
    server.chat.script = THINKING
    events, answer = await client.events("stream_chat", "Hi")
    assert events == [
        Event(reasoning="The user "),
        Event(reasoning="says Hi."),
        Event("Hello", citations=(Citation("https://a.b", "A", "", 0, 5),)),
    ]
    assert answer.reasoning == THOUGHTS
    assert await client.stream("stream_chat", "Hi") == (["Hello"], answer)


async def test_leaving_the_events_of_a_stream_ends_the_turn(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]
    async for event in soma.stream_chat("Hi").events():
        assert event == Event("Hel")
        break
    gc.collect()
    async with asyncio.timeout(5):
        await server.chat.ended.wait()


async def test_an_answer_is_asked_for_whole_unless_it_is_streamed(server: Server, client: Driver) -> None:
    server.chat.script = [noticed(), *spoken("Hello", ", world")]
    whole = await client.call("chat", "Hi")
    assert server.chat.sent == 2  # a heartbeat and the answer
    assert await client.stream("stream_chat", "Hi") == (["Hello", ", world"], whole)
    assert [request.options.whole for request in server.chat.requests] == [True, False]


def test_an_answer_that_was_asked_for_whole_may_come_in_pieces() -> None:
    turn = Turn("req_1")
    for event in spoken("Hello", ", world"):
        assert isinstance(event, chat.ChatResponse)
        turn.take(event)
    assert turn.answer() == HELLO


def test_a_whole_answer_without_its_end_was_cut() -> None:
    turn = Turn("req_1")
    turn.take(chat.ChatResponse(answer=chat.ChatAnswer(started=chat.ChatStarted(), delta=model.Delta(text="Hel"))))
    with pytest.raises(somamesh.UnavailableError):
        turn.answer()


async def test_a_refusal_and_the_stop_sequence_come_with_the_answer(server: Server, client: Driver) -> None:
    last = finished()
    last.finished.stop_sequence = "."
    server.chat.script = [started(), refused("No"), last]
    answer = await client.call("chat", "Hi")
    assert (answer.text, answer.refusal, answer.stop_sequence) == ("No", True, ".")


async def test_all_that_is_known_of_the_usage_comes_with_the_answer(server: Server, client: Driver) -> None:
    last = finished()
    last.finished.usage.CopyFrom(
        model.Usage(
            prompt_tokens=5,
            completion_tokens=2,
            total_tokens=7,
            cached_prompt_tokens=3,
            cache_write_prompt_tokens=4,
            reasoning_tokens=1,
            estimated=True,
        )
    )
    server.chat.script = [started(), last]
    assert (await client.call("chat", "Hi")).usage == Usage(5, 2, 7, 3, 4, 1, estimated=True)


async def test_the_answer_has_the_notices_of_policy(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [noticed(), *spoken("Hi")]
    answer = await soma.chat("Hi")
    assert answer.notices == (Notice("input", "redact", (Rule("pii.email", "redact", "an address"),)),)


async def test_the_answer_has_log_probabilities_and_dropped_parameters(server: Server, client: Driver) -> None:
    first, second = (model.TokenLogprob(token=token, logprob=-0.5, utf8=token.encode()) for token in "ab")
    whole = spoken("a", "b")
    for event, logprob in zip(whole[2:4], (first, second), strict=True):
        assert isinstance(event, chat.ChatResponse)
        event.delta.logprobs.append(logprob)
    assert isinstance(whole[0], chat.ChatResponse)
    whole[0].started.dropped_params.append("sampling.top_k")
    server.chat.script = whole
    answer = await client.call("chat", "Hi", top_logprobs=0, drop_params=True)
    assert answer.logprobs == (TokenLogprob("a", -0.5, b"a"), TokenLogprob("b", -0.5, b"b"))
    assert answer.dropped_params == ("sampling.top_k",)


async def test_every_turn_has_a_key_an_id_and_a_deadline(server: Server, soma: AsyncClient) -> None:
    await soma.chat("Hi", timeout=20)
    assert 0 < server.chat.seconds_left < 22
    assert server.chat.metadata["authorization"] == f"Bearer {KEY}"
    assert str(server.chat.metadata["user-agent"]).startswith("somamesh-python/")
    first = server.chat.metadata["x-request-id"]
    await soma.chat("Hi")
    assert server.chat.metadata["x-request-id"] != first
    assert 22 < server.chat.seconds_left < 602
    async with AsyncClient(server.url, KEY, timeout=10) as hurried:
        await hurried.chat("Hi")
    assert 0 < server.chat.seconds_left < 12


CUT: list[Sequence[Step]] = [[], spoken("Hel")[:1], spoken("Hel")[:-1]]


@pytest.mark.parametrize("script", CUT)
async def test_an_answer_that_was_cut_is_never_taken_for_complete(
    server: Server, client: Driver, script: Sequence[Step]
) -> None:
    server.chat.script = script
    with pytest.raises(somamesh.UnavailableError) as caught:
        await client.call("chat", "Hi")
    assert caught.value.reason == "STREAM_CUT"
    with pytest.raises(somamesh.UnavailableError):
        await client.stream("stream_chat", "Hi")


async def test_a_failure_inside_a_stream_is_raised_after_what_came_before_it(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUDGET_SPENT")]
    pieces: list[str] = []

    async def read() -> None:
        async for piece in soma.stream_chat("Hi"):
            pieces.append(piece)

    with pytest.raises(somamesh.RateLimitError) as caught:
        await read()
    assert pieces == ["Hel"]
    assert (caught.value.reason, caught.value.retry_after) == ("BUDGET_SPENT", 2)


async def test_a_failed_turn_is_not_retried(server: Server, client: Driver) -> None:
    server.chat.script = [errors.Unavailable("no", retry_after=0.01)]
    with pytest.raises(somamesh.UnavailableError):
        await client.call("chat", "Hi")
    assert len(server.chat.requests) == 1


async def test_a_stream_may_be_read_in_parts(soma: AsyncClient) -> None:
    async with soma.stream_chat("Hi") as answer:
        assert await anext(answer) == "Hello"
        assert [piece async for piece in answer] == [", world"]
        assert [piece async for piece in answer] == []
        assert await answer.answer() == HELLO


async def test_leaving_a_stream_ends_the_turn(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]
    async with soma.stream_chat("Hi") as answer:
        assert await anext(answer) == "Hel"
    async with asyncio.timeout(15):
        await server.chat.ended.wait()
    with pytest.raises(somamesh.UnavailableError):
        await answer.answer()


async def test_breaking_out_of_the_loop_ends_the_turn(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]
    async for piece in soma.stream_chat("Hi"):
        assert piece == "Hel"
        break
    gc.collect()
    async with asyncio.timeout(15):
        await server.chat.ended.wait()


async def test_a_stream_closed_by_another_task_is_cut_and_cancels_nobody(server: Server, soma: AsyncClient) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]
    answer = soma.stream_chat("Hi")
    assert await anext(answer) == "Hel"
    reading = asyncio.create_task(answer.answer())
    asyncio.get_running_loop().call_soon(answer.close)
    async with asyncio.timeout(15):
        with pytest.raises(somamesh.UnavailableError):
            await reading


async def test_breaking_out_of_a_sync_loop_or_its_block_ends_the_turn(server: Server) -> None:
    server.chat.script = [*spoken("Hel")[:-1], asyncio.Event()]

    def leave_the_block() -> str:
        with Client(server.url, KEY) as client, client.stream_chat("Hi") as answer:
            return next(answer)

    def leave_the_loop(client: Client) -> str:
        for piece in client.stream_chat("Hi"):
            return piece
        return ""

    assert await asyncio.to_thread(leave_the_block) == "Hel"
    async with asyncio.timeout(15):
        await server.chat.ended.wait()
    server.chat.ended.clear()
    with Client(server.url, KEY) as client:
        assert await asyncio.to_thread(leave_the_loop, client) == "Hel"
        async with asyncio.timeout(15):
            await server.chat.ended.wait()


async def test_a_sync_stream_that_was_closed_is_cut(server: Server) -> None:
    def close_early() -> None:
        with Client(server.url, KEY) as client:
            answer = client.stream_chat("Hi")
            next(answer)
            answer.close()
            answer.answer()

    with pytest.raises(somamesh.UnavailableError):
        await asyncio.to_thread(close_early)


async def test_a_model_alone_answers_without_policy_or_memory(server: Server, client: Driver) -> None:
    pieces, answer = await client.stream("stream_generate", "Hi", model="plain", seed=3)
    assert pieces == ["Hello"]
    assert answer == await client.call("generate", "Hi", model="plain", seed=3)
    assert (answer.id, answer.text, answer.finish_reason, answer.conversation) == ("g1", "Hello", "length", "")
    assert server.trouble.requests[0] == generation.GenerateRequest(
        model="plain",
        messages=[model.Message(role=model.ROLE_USER, content="Hi")],
        options=options_pb2.GenerationOptions(sampling=options_pb2.Sampling(seed=3)),
    )
