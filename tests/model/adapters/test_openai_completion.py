"""The method for completions: what it is asked, and unusual answers, of which none is lost or wrongly complete."""

from typing import Any

import pytest
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import Completion, GenerationOptions, Sampling

from services.mesh.call.errors import MeshError
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.openai_completion import completion_body
from services.model.adapters.upstream import Upstream
from services.model.testing.dialects import Behaviour, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from services.model.vendor import Completions
from tests.model.adapters.answering import PATIENCE, Heard, data
from tests.model.vendors import VENDORS


class PromptDialect(OpenAIDialect):
    """OpenAI's method for completions, whose answers a test writes."""

    path = "/v1/completions"


def asked(whole: bool = False, **options: Any) -> GenerateRequest:
    said = Message(role=ROLE_USER, content="Once")
    made = GenerationOptions(completion=Completion(), whole=whole)
    made.MergeFrom(GenerationOptions(**options))
    return GenerateRequest(messages=[said], options=made)


def piece(text: str, finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": finish, **members}]}


async def sent(*frames: bytes, heard: Heard | None = None) -> Heard:
    """The answer that a caller gets when the server sends these bytes."""
    heard = heard or Heard()
    async with (
        FakeUpstream(PromptDialect(), Behaviour(sent=frames)) as fake,
        Upstream("lab", f"{fake.url}/v1", {}, PATIENCE) as upstream,
    ):
        async for event in OpenAICompatible(upstream, VENDORS["vllm"]).generate(asked(), "m"):
            heard.add(event)
    return heard


def test_a_prompt_is_asked_with_the_members_of_completions() -> None:
    sampling = Sampling(max_tokens=5, temperature=0.5, stop_sequences=["."], seed=3, top_logprobs=0)
    request = asked(
        sampling=sampling,
        completion=Completion(suffix=" end", echo=True),
        user="u",
        provider_params='{"prompt": "other", "best_of": 2}',
    )
    assert completion_body(request, "m", Completions()) == {
        "model": "m",
        "prompt": "Once",
        "suffix": " end",
        "echo": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "temperature": 0.5,
        "stop": ["."],
        "seed": 3,
        "logprobs": 0,
        "user": "u",
        "best_of": 2,
    }


def test_a_whole_completion_is_asked_in_the_vendors_words() -> None:
    method = Completions(renames={"seed": "random_seed"}, omits=("user",))
    body = completion_body(asked(True, sampling=Sampling(seed=3), user="u"), "m", method)
    assert body == {"model": "m", "prompt": "Once", "random_seed": 3}


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        # One end mark alone: a reason, or the mark.
        (data(piece("Hel"), piece("lo", "stop"), end=b""), "Hello"),
        (data(piece("Hello")), "Hello"),
        # Nothing to add is an answer too.
        (data(piece("", "stop")), ""),
        # Usage without counts, and in the last chunk with a choice.
        (data(piece("Hello", "stop") | {"usage": {"prompt_tokens": None, "completion_tokens": -1}}), "Hello"),
        # A character in two halves.
        (
            [b'data: {"choices": [{"text": "\\ud83c"}]}\n\n', b'data: {"choices": [{"text": "\\udf0d"}]}\n\n', *data()],
            "🌍",
        ),
        # Probabilities of another shape do not matter.
        (data(piece("Hello", "stop", logprobs={"tokens": ["Hello"], "token_logprobs": "none"})), "Hello"),
        # A whole answer although a stream was asked.
        ([b'{"choices": [{"text": "Hello", "finish_reason": "stop"}], "usage": null}'], "Hello"),
        ([b'{"choices": [{"text": "", "finish_reason": "stop"}]}'], ""),
        # Mistral's answers have the shape of a chat.
        (data({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}), "Hello"),
    ],
)
async def test_an_unusual_answer_is_read(frames: list[bytes], text: str) -> None:
    heard = await sent(*frames)
    assert heard.text == text
    assert heard.finished is not None
    assert heard.finished.finish_reason == FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (data(piece("Hel"), {"error": {"code": 502, "message": "gone"}, **piece("", "error")}), "PROVIDER_UNAVAILABLE"),
        (data(piece("Hel"), {"choices": [], "error": {"code": 429, "message": "gone"}}), "PROVIDER_RATE_LIMITED"),
        (data(piece("Hel"), end=b""), "PROVIDER_STREAM_CUT"),
        (data(piece("Hel"), piece("", "abort")), "PROVIDER_UNAVAILABLE"),
        ([b'{"error": {"message": "gone"}}'], "PROVIDER_UNAVAILABLE"),
        ([b'{"choices": [{"text": "Hel'], "PROVIDER_STREAM_CUT"),
        ([b'{"choices": [{"finish_reason": "stop"}]}'], "PROVIDER_PROTOCOL_ERROR"),
        ([b"<html>sign in</html>"], "PROVIDER_PROTOCOL_ERROR"),
    ],
)
async def test_a_failure_is_no_answer(frames: list[bytes], reason: str) -> None:
    heard = Heard()
    with pytest.raises(MeshError) as raised:
        await sent(*frames, heard=heard)
    assert raised.value.reason == reason
    assert heard.finished is None


async def test_a_completion_that_is_cut_short_says_so() -> None:
    heard = await sent(*data(piece("Hello", "length")))
    assert heard.finished is not None
    assert heard.finished.finish_reason == FINISH_REASON_LENGTH
