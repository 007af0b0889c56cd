"""Several choices, log probabilities, dropped parameters and the field `soma`, complete and streamed."""

import asyncio
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI
from soma.memory.v1.memory_service_pb2 import STRATEGY_LONG_ONLY
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.policy.v1.policy_service_pb2 import DECISION_REDACT, MatchedRule

from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.fakes.chat import delta, finished, spoken, started, tool_call
from tests.gateway.edge.conftest import Stand

HI: Any = [{"role": "user", "content": "Hi"}]
LIKELY = model.TokenLogprob(token="Hi", logprob=-0.25, utf8=b"Hi", top=[model.TokenLogprob(token="Ho", logprob=-2)])
LOGPROB = {
    "token": "Hi",
    "logprob": -0.25,
    "bytes": [72, 105],
    "top_logprobs": [{"token": "Ho", "logprob": -2.0, "bytes": None}],
}


async def test_each_choice_is_a_generation_of_its_own_with_a_seed_of_its_own(openai: AsyncOpenAI, stand: Stand) -> None:
    answer = await openai.chat.completions.create(model="plain", messages=HI, n=3, seed=7)
    assert [(each.index, each.message.content) for each in answer.choices] == [(n, "Hello, world") for n in range(3)]
    assert sorted(request.options.sampling.seed for request in stand.chat.requests) == [7, 8, 9]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 6, 11)


async def test_streamed_choices_carry_their_index_and_each_says_how_it_ended(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(
        model="plain",
        messages=HI,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    texts = {0: "", 1: ""}
    ends = []
    for chunk in chunks[:-1]:
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            ends.append(choice.index)
    assert texts == {0: "Hello, world", 1: "Hello, world"}
    assert sorted(ends) == [0, 1]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_choice_that_fails_fails_the_answer_and_ends_the_others(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.chat.script = [started(), errors.Unavailable("no", reason="UPSTREAM_LOST")]
    with pytest.raises(sdk.InternalServerError):
        await openai.chat.completions.create(model="plain", messages=HI, n=2)


async def test_a_client_that_disconnects_cancels_all_its_choices(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [started(), delta("Hel"), asyncio.Event()]
    body = {"messages": HI, "n": 3, "stream": True}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.aiter_lines()
        await anext(lines)
        await until(lambda: number_active(stand, 3))
    await until(lambda: number_active(stand, 0))


async def number_active(stand: Stand, number: int) -> bool:
    return stand.chat.active == number


async def test_log_probabilities_come_with_their_text(openai: AsyncOpenAI, stand: Stand) -> None:
    said = chat.ChatResponse(delta=model.Delta(text="Hi", logprobs=[LIKELY]))
    stand.chat.script = [started(), said, finished()]
    ask: Any = {"model": "plain", "messages": HI, "logprobs": True, "top_logprobs": 1}
    answer = await openai.chat.completions.create(**ask)
    assert stand.chat.requests[0].options.sampling.top_logprobs == 1
    assert answer.choices[0].logprobs.model_dump() == {"content": [LOGPROB], "refusal": None}
    stream = await openai.chat.completions.create(**ask, stream=True)
    found = [chunk.choices[0].logprobs async for chunk in stream]
    assert [each.model_dump() for each in found if each] == [{"content": [LOGPROB], "refusal": None}]


async def test_parameters_that_a_model_does_not_support_are_refused_by_openais_names(
    openai: AsyncOpenAI, stand: Stand
) -> None:
    fields = ("sampling.stop_sequences", "sampling.seed")
    stand.chat.script = [
        errors.InvalidArgument(
            "lab cannot",
            reason="PARAMETER_NOT_SUPPORTED",
            violations=[errors.FieldViolation(field, "no") for field in fields],
        )
    ]
    with pytest.raises(sdk.BadRequestError) as caught:
        await openai.chat.completions.create(model="plain", messages=HI, seed=1)
    assert caught.value.body == {
        "message": "Unsupported parameters: 'stop', 'seed' are not supported with this model.",
        "type": "invalid_request_error",
        "param": "stop",
        "code": "unsupported_parameter",
    }


@pytest.mark.parametrize("stream", [False, True])
async def test_dropped_parameters_are_named_in_the_answer(openai: AsyncOpenAI, stand: Stand, stream: bool) -> None:
    opening = started()
    opening.started.dropped_params.extend(["sampling.seed", "options.response_format", "provider_params.min_p"])
    stand.chat.script = [opening, delta("Hi"), finished()]
    create: Any = openai.chat.completions.create
    answer = await create(
        model="plain",
        messages=HI,
        seed=1,
        modalities=["text", "audio"],
        stream=stream,
        extra_body={"soma": {"drop_params": True}},
    )
    if stream:
        [answer] = [chunk async for chunk in answer if chunk.choices[0].finish_reason]
    assert stand.chat.requests[0].options.drop_params
    extension = (answer.model_extra or {})["soma"]
    assert extension == {"dropped_params": ["modalities", "seed", "response_format", "min_p"]}


async def test_the_field_soma_chooses_the_memory_and_reports_policy(http: httpx.AsyncClient, stand: Stand) -> None:
    rule = MatchedRule(rule_id="pii", decision=DECISION_REDACT, reason="an address")
    notice = chat.PolicyNotice(decision=DECISION_REDACT, stage="output", matched_rules=[rule])
    stand.chat.script = [started(), chat.ChatResponse(policy=notice), delta("Hi"), finished()]
    body = {"messages": HI, "soma": {"policy": True, "strategy": "long_only"}}
    answer = await http.post("/v1/chat/completions", json=body)
    rules = [{"rule_id": "pii", "decision": "redact", "reason": "an address"}]
    assert answer.json()["soma"] == {"policy": [{"stage": "output", "decision": "redact", "rules": rules}]}
    assert stand.chat.requests[0].strategy == STRATEGY_LONG_ONLY


async def test_an_answer_has_no_field_soma_unless_the_request_asks_for_it(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.chat.script = [*spoken("Hi")[:-1], tool_call(0, "c1", "look", "{}"), finished()]
    answer = await http.post("/v1/chat/completions", json={"messages": HI})
    members = {"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"}
    assert answer.json().keys() == members
