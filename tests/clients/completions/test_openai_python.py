"""OpenAI's Python client continues prompts, by vendors with a method for it and by one without."""

from collections.abc import Mapping
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.clients.completions.prompts import (
    BROKEN,
    LIMITED,
    METHODS,
    PIECES,
    PROBABILITY,
    REFUSED,
    PromptServer,
    continued,
)

PROMPT = "def add(a, b):"
WRITTEN = len(PIECES) + 1
SUFFIXED = ("openai", "ollama", "deepseek", "mistral")
# Vendors that give the probabilities of tokens, and those that also do it for the tokens of the prompt.
COUNTED = ("openai", "vllm", "llamacpp", "fireworks", "deepseek")
ECHOED = ("openai", "vllm", "fireworks", "deepseek")


@pytest.mark.parametrize("name", METHODS)
async def test_a_prompt_is_continued_in_one_piece(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer], name: str
) -> None:
    model = METHODS[name].model
    answer = await client.completions.create(model=model, prompt=PROMPT, max_tokens=50, temperature=0.5, stop=["\n"])
    assert (answer.object, answer.model, answer.id[:5]) == ("text_completion", model, "cmpl-")
    [choice] = answer.choices
    assert (choice.index, choice.text, choice.finish_reason, choice.logprobs) == (0, continued(PROMPT), "stop", None)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(PROMPT), WRITTEN)
    asked = vendors[name].bodies[-1]
    assert (asked["temperature"], asked["stop"], asked.get("stream")) == (0.5, ["\n"], None)
    if not METHODS[name].chats:
        assert (asked["prompt"], asked["max_tokens"], "messages" in asked) == (PROMPT, 50, False)


@pytest.mark.parametrize("name", METHODS)
async def test_a_prompt_is_continued_as_a_stream(client: AsyncOpenAI, name: str) -> None:
    model = METHODS[name].model
    stream = await client.completions.create(
        model=model, prompt=PROMPT, stream=True, max_tokens=3, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert {(chunk.object, chunk.model, chunk.id) for chunk in chunks} == {("text_completion", model, chunks[0].id)}
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == continued(PROMPT)
    if not METHODS[name].chats:
        assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "length"
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-2])
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == WRITTEN


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", SUFFIXED)
async def test_a_suffix_comes_after_the_completion(client: AsyncOpenAI, name: str, streamed: bool) -> None:
    assert await _text(client, name, streamed, suffix="    return c") == continued(PROMPT, "    return c")


@pytest.mark.parametrize("name", METHODS.keys() - SUFFIXED)
async def test_a_suffix_is_refused_by_name_where_there_is_none(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer], name: str
) -> None:
    asked = len(vendors[name].bodies)
    with pytest.raises(openai.BadRequestError) as refused:
        await _text(client, name, False, suffix="    return c")
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "suffix")
    assert len(vendors[name].bodies) == asked


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", METHODS)
async def test_an_echo_is_added_without_asking_the_vendor_for_it(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer], name: str, streamed: bool
) -> None:
    assert await _text(client, name, streamed, echo=True) == PROMPT + continued(PROMPT)
    assert "echo" not in vendors[name].bodies[-1]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", COUNTED)
async def test_tokens_come_with_their_probabilities_and_places(client: AsyncOpenAI, name: str, streamed: bool) -> None:
    found = await _tokens(client, name, streamed, logprobs=2)
    assert "".join(token for token, *_ in found) == continued(PROMPT)
    assert [offset for *_, offset in found] == [
        len(PROMPT) + len(continued(PROMPT)[:place]) for place in _places(found)
    ]
    assert {probability for _, probability, *_ in found} == {PROBABILITY}
    assert all(top == {"other": -2.0, token: PROBABILITY} for token, _, top, _ in found)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ECHOED)
async def test_tokens_of_the_prompt_come_from_the_vendor_with_their_probabilities(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer], name: str, streamed: bool
) -> None:
    found = await _tokens(client, name, streamed, logprobs=1, echo=True)
    assert vendors[name].bodies[-1]["echo"] is True
    assert "".join(token for token, *_ in found) == PROMPT + continued(PROMPT)
    # The first token of a text has no probability.
    assert found[0] == (PROMPT, None, None, 0)
    assert [probability for _, probability, *_ in found[1:]] == [PROBABILITY] * WRITTEN
    assert [offset for *_, offset in found] == _places(found)


async def test_probabilities_of_the_prompt_are_refused_where_there_are_none(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await _text(client, "llamacpp", False, echo=True, logprobs=1)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "echo")


@pytest.mark.parametrize("streamed", [False, True])
async def test_several_prompts_have_their_choices_in_their_order(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer], streamed: bool
) -> None:
    vendors["vllm"].bodies.clear()
    prompts = ["One", "Three", "Twelve"]
    wanted: Any = {"model": METHODS["vllm"].model, "prompt": prompts, "n": 2, "seed": 7}
    texts: dict[int, str] = {}
    usage = None
    if streamed:
        async for chunk in await client.completions.create(
            **wanted, stream=True, stream_options={"include_usage": True}
        ):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
            usage = chunk.usage or usage
    else:
        answer = await client.completions.create(**wanted)
        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3, 4, 5]
        texts, usage = {choice.index: choice.text for choice in answer.choices}, answer.usage
    assert texts == {index: continued(prompts[index // 2]) for index in range(6)}
    # Each prompt is counted once, and each completion.
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (sum(map(len, prompts)), 6 * WRITTEN)
    # Equal seeds would give equal choices.
    asked = {(body["prompt"], body["seed"]) for body in vendors["vllm"].bodies}
    assert asked == {(prompt, seed) for prompt in prompts for seed in (7, 8)}


async def test_other_parameters_reach_the_vendors_that_have_them(
    client: AsyncOpenAI, vendors: Mapping[str, PromptServer]
) -> None:
    await _text(client, "openai", False, best_of=3, logit_bias={"50256": -100}, user="u", presence_penalty=0.5)
    asked = vendors["openai"].bodies[-1]
    assert (asked["best_of"], asked["logit_bias"], asked["user"]) == (3, {"50256": -100}, "u")
    assert asked["presence_penalty"] == 0.5
    await _text(client, "vllm", False, extra_body={"guided_regex": "a+", "min_p": 0.1, "top_k": 5})
    asked = vendors["vllm"].bodies[-1]
    assert (asked["guided_regex"], asked["min_p"], asked["top_k"]) == ("a+", 0.1, 5)
    await _text(client, "mistral", False, seed=4, user="u", extra_body={"min_tokens": 2})
    asked = vendors["mistral"].bodies[-1]
    assert (asked["random_seed"], asked["min_tokens"], "user" in asked) == (4, 2, False)


@pytest.mark.parametrize("name", ["llamacpp", "ollama", "groq", "mistral"])
async def test_the_best_of_several_is_refused_where_there_is_none(client: AsyncOpenAI, name: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await _text(client, name, False, best_of=2)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "best_of")


async def test_what_a_vendor_lacks_is_left_out_on_request(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(
        model=METHODS["groq"].model, prompt=PROMPT, suffix="x", extra_body={"soma": {"drop_params": True}}
    )
    assert answer.choices[0].text == continued(PROMPT)
    assert answer.model_extra is not None
    assert answer.model_extra["soma"]["dropped_params"] == ["suffix"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("prompt", "kind", "code"),
    [
        (REFUSED, openai.BadRequestError, "provider_refused_request"),
        (LIMITED, openai.RateLimitError, "rate_limit_exceeded"),
    ],
)
async def test_a_refusal_of_the_vendor_keeps_its_kind_and_its_words(
    client: AsyncOpenAI, prompt: str, kind: type[openai.APIStatusError], code: str, streamed: bool
) -> None:
    with pytest.raises(kind) as refused:
        await client.completions.create(model=METHODS["openai"].model, prompt=prompt, stream=streamed)
    assert refused.value.code == code
    assert ("too long" if prompt == REFUSED else "low down") in refused.value.message


async def test_a_stream_that_fails_is_no_whole_answer(client: AsyncOpenAI) -> None:
    stream = await client.completions.create(model=METHODS["vllm"].model, prompt=BROKEN, stream=True)
    text = ""
    with pytest.raises(openai.APIError) as failed:
        async for chunk in stream:
            text += chunk.choices[0].text
    assert text == continued(BROKEN).removesuffix("".join(PIECES)) + PIECES[0]
    assert "died" in failed.value.message


async def test_a_model_that_only_completes_is_listed_and_refuses_a_chat(client: AsyncOpenAI) -> None:
    model = METHODS["openai"].model
    assert model in [each.id async for each in client.models.list()]
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.code == "model_capability_missing"
    assert "it completes prompts" in refused.value.message


async def test_a_chat_model_of_the_same_vendor_gets_the_prompt_as_a_message(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as asked:
        await client.completions.create(model="gpt-4o-mini", prompt=PROMPT)
    # This server has no path for chats.
    assert asked.value.status_code in (404, 502, 503)


async def test_the_local_model_completes_a_prompt(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model="somasuite-markov-v1", prompt="The mesh", max_tokens=8, echo=True)
    assert answer.choices[0].text.startswith("The mesh")
    assert len(answer.choices[0].text) > len("The mesh")


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt[1]"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "a", "best_of": 1, "n": 2}, "best_of"),
        ({"prompt": "a", "best_of": 3, "n": 2}, "best_of"),
        ({"prompt": "a", "best_of": 3, "stream": True}, "best_of"),
        ({"prompt": ["a"] * 50, "n": 3}, "n"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "a", "extra_body": {"conversation": "c"}}, "conversation"),
        ({"prompt": "a", "extra_body": {"soma": {"strategy": "hybrid"}}}, "soma.strategy"),
    ],
)
async def test_a_wrong_request_is_refused_by_name(client: AsyncOpenAI, wanted: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.completions.create(model=METHODS["vllm"].model, **wanted)
    assert refused.value.param == param


async def _text(client: AsyncOpenAI, name: str, streamed: bool, **wanted: Any) -> str:
    asked: Any = {"model": METHODS[name].model, "prompt": PROMPT, **wanted}
    if not streamed:
        return str((await client.completions.create(**asked)).choices[0].text)
    return "".join([chunk.choices[0].text async for chunk in await client.completions.create(**asked, stream=True)])


async def _tokens(client: AsyncOpenAI, name: str, streamed: bool, **wanted: Any) -> list[tuple[Any, ...]]:
    """Each token with its probability, the likeliest at its place, and its place in the text."""
    asked: Any = {"model": METHODS[name].model, "prompt": PROMPT, **wanted}
    if streamed:
        answers = [chunk async for chunk in await client.completions.create(**asked, stream=True)]
    else:
        answers = [await client.completions.create(**asked)]
    found: list[tuple[Any, ...]] = []
    for answer in answers:
        if logprobs := answer.choices[0].logprobs:
            top: Any = logprobs.top_logprobs or [None] * len(logprobs.tokens or ())
            found += zip(
                logprobs.tokens or (), logprobs.token_logprobs or (), top, logprobs.text_offset or (), strict=True
            )
    return found


def _places(found: list[tuple[Any, ...]]) -> list[int]:
    return [sum(len(token) for token, *_ in found[:place]) for place in range(len(found))]
