"""`somasuite-markov-v1`: it is deterministic with a seed, and every sampling field has its effect."""

import math
from collections import Counter
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, ROLE_USER, Delta, Message
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import GenerationOptions, Sampling

from services.model.adapters.markov.chain import END, train
from services.model.adapters.markov.engine import MarkovEngine, packaged_chain
from services.model.adapters.markov.sampling import drawing
from services.model.tokens import pieces

ENGINE = MarkovEngine(packaged_chain())
DISTRIBUTION = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}


async def written(prompt: str, **sampling: Any) -> tuple[str, GenerationFinished]:
    request = GenerateRequest(
        messages=[Message(role=ROLE_USER, content=prompt)], options=GenerationOptions(sampling=Sampling(**sampling))
    )
    text = ""
    async for event in ENGINE.generate(request):
        if isinstance(event, Delta):
            text += event.text
        elif isinstance(event, GenerationFinished):
            return text, event
    pytest.fail("it never finished")


def drawn(count: int = 2000, seen: Counter[str] | None = None, **sampling: Any) -> Counter[str]:
    draw, random = drawing(Sampling(**sampling)), Random(1)
    return Counter(draw.draw(DISTRIBUTION, seen or Counter(), random) for _ in range(count))


async def test_equal_seeds_write_equal_texts_and_different_seeds_do_not() -> None:
    texts = {(await written("The mesh is", seed=seed, temperature=1.5))[0] for seed in (1, 1, 1, 2, 3, 4)}
    assert len(texts) == 4


async def test_without_a_seed_texts_differ() -> None:
    assert len({(await written("The mesh is", temperature=1.5))[0] for _ in range(8)}) > 1


async def test_temperature_0_is_greedy_whatever_the_seed() -> None:
    assert len({(await written("A service", seed=seed, temperature=0.0))[0] for seed in range(5)}) == 1


async def test_it_stops_at_the_token_limit_and_says_so() -> None:
    text, finished = await written("A service", seed=1, max_tokens=5)
    assert finished.finish_reason == FINISH_REASON_LENGTH
    assert finished.usage.completion_tokens == 5 == len(pieces(text))


async def test_it_stops_before_a_stop_sequence() -> None:
    text, finished = await written("The stream", temperature=0.0, max_tokens=200, stop_sequences=["its lease"])
    assert finished.finish_reason == FINISH_REASON_STOP
    assert "its lease" not in text
    assert text


async def test_it_writes_at_least_something_for_any_prompt() -> None:
    for prompt in ("?", "zzz", "Hello.", "nothing is lost.", "日本語", " "):
        text, _ = await written(prompt, seed=1)
        assert text.strip()


async def test_tokens_are_words_and_marks_of_prompt_and_text() -> None:
    text, finished = await written("Don't stop, please", seed=1)
    assert finished.usage.prompt_tokens == 4
    assert finished.usage.completion_tokens == len(pieces(text))
    assert finished.usage.total_tokens == 4 + len(pieces(text))


async def test_64_tokens_take_well_under_50_ms() -> None:
    times = []
    for seed in range(20):
        began = perf_counter()
        await written("The mesh", seed=seed, max_tokens=64)
        times.append(perf_counter() - began)
    assert median(times) < 0.05


def test_top_k_keeps_the_most_probable() -> None:
    assert set(drawn(top_k=2, temperature=2.0)) == {"a", "b"}


def test_top_p_keeps_the_fewest_that_reach_the_mass() -> None:
    assert set(drawn(top_p=0.65, temperature=1.0)) == {"a", "b"}
    assert set(drawn(top_p=0.75, temperature=1.0)) == {"a", "b", "c"}
    assert set(drawn(top_p=0.0, temperature=1.0)) == {"a"}


def test_temperature_sharpens_and_flattens() -> None:
    assert drawn(temperature=0.2)["a"] > drawn(temperature=1.0)["a"] > drawn(temperature=2.0)["a"]


def test_at_temperature_1_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    found = drawn(20_000, temperature=1.0)
    for token, probability in DISTRIBUTION.items():
        assert math.isclose(found[token] / 20_000, probability, abs_tol=0.015)


def test_a_repetition_penalty_above_1_avoids_and_below_1_prefers_what_was_seen() -> None:
    seen = Counter({"a": 1})
    plain = drawn(temperature=1.0)["a"]
    assert drawn(seen=seen, temperature=1.0, repetition_penalty=2.0)["a"] < plain
    assert drawn(seen=seen, temperature=1.0, repetition_penalty=0.5)["a"] > plain


def test_frequency_penalty_grows_with_each_use_and_presence_penalty_does_not() -> None:
    once, often = Counter({"a": 1}), Counter({"a": 4})
    plain = drawn(temperature=1.0)["a"]
    frequency = [drawn(seen=seen, temperature=1.0, frequency_penalty=0.5)["a"] for seen in (often, once)]
    presence = [drawn(seen=seen, temperature=1.0, presence_penalty=0.5)["a"] for seen in (often, once)]
    assert frequency[0] < frequency[1] < plain
    assert presence[0] == presence[1] < plain


@given(
    sampling=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.floats(0, 2, width=32),
            "top_p": st.floats(0, 1, width=32),
            "top_k": st.integers(1, 1000),
            "repetition_penalty": st.floats(0, 2, width=32),
            "frequency_penalty": st.floats(-2, 2, width=32),
            "presence_penalty": st.floats(-2, 2, width=32),
        },
    ),
    context=st.lists(st.sampled_from(["the", "mesh", " a", ".", "unheard", " Service"]), max_size=4),
    seed=st.integers(-(2**31), 2**31 - 1),
)
def test_any_allowed_sampling_draws_a_token_that_may_follow(
    sampling: dict[str, Any], context: list[str], seed: int
) -> None:
    distribution = packaged_chain().distribution(context)
    assert math.isclose(sum(distribution.values()), 1.0)
    seen = Counter(token.strip().lower() for token in context)
    first = drawing(Sampling(**sampling)).draw(distribution, seen, Random(seed))
    assert first in distribution
    assert first == drawing(Sampling(**sampling)).draw(distribution, seen, Random(seed))


def test_a_chain_has_only_tokens_that_followed_in_the_text() -> None:
    chain = train("One fish. Two fish.\n\nRed fish!")
    assert set(chain.distribution(["One"])) == {" fish"}
    assert set(chain.distribution([" fish"])) == {".", "!"}
    assert set(chain.distribution(["unheard"])) == {" One", " Red"}
    assert chain.distribution(["!"]) == {END: 1.0}
