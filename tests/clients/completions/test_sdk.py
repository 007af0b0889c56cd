"""The Python client continues prompts, and an application calls the contract itself, over REST."""

from collections.abc import AsyncIterator

import httpx
import pytest
from somamesh import AsyncClient, InvalidRequestError, Prompt

from tests.clients.completions.prompts import METHODS, continued
from tests.e2e.stack import Stack

PROMPT = "def add(a, b):"


@pytest.fixture
async def soma(stack: Stack) -> AsyncIterator[AsyncClient]:
    """The client."""
    async with AsyncClient(stack.url, stack.key) as made:
        yield made


async def test_a_prompt_is_continued_whole_and_streamed(soma: AsyncClient) -> None:
    model = METHODS["ollama"].model
    wanted = Prompt(suffix="    return c")
    whole = await soma.chat(PROMPT, model=model, completion=wanted, max_tokens=3)
    assert (whole.text, whole.finish_reason) == (continued(PROMPT, wanted.suffix), "length")
    async with soma.stream_chat(PROMPT, model=model, completion=wanted) as stream:
        pieces = [piece async for piece in stream]
    assert "".join(pieces) == continued(PROMPT, wanted.suffix)
    assert (await soma.generate(PROMPT, model=model, completion=Prompt())).text == continued(PROMPT)


async def test_a_prompt_echoes_with_the_probabilities_of_its_tokens(soma: AsyncClient) -> None:
    model = METHODS["vllm"].model
    answer = await soma.chat(PROMPT, model=model, completion=Prompt(echo=True), top_logprobs=1)
    assert answer.text == PROMPT + continued(PROMPT)
    assert (answer.logprobs[0].token, answer.logprobs[0].logprob) == (PROMPT, 0.0)


async def test_a_model_of_prompts_answers_infer(soma: AsyncClient) -> None:
    assert (await soma.infer(PROMPT, model=METHODS["openai"].model)).text == continued(PROMPT)
    with pytest.raises(InvalidRequestError, match=r"sampling\.top_k"):
        await soma.infer(PROMPT, model=METHODS["openai"].model, top_k=5)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"messages": [{"role": "ROLE_USER", "content": "a"}] * 2}, "messages"),
        ({"messages": [{"role": "ROLE_ASSISTANT", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "ROLE_USER", "parts": [{"text": {"text": "a"}}]}]}, "messages"),
        ({"conversation_id": "c1"}, "conversation_id"),
        ({"options": {"completion": {}, "tools": [{"name": "look"}]}}, "options.tools"),
        ({"options": {"completion": {}, "response_format": {"type": "TYPE_JSON_OBJECT"}}}, "options.response_format"),
        ({"options": {"completion": {"suffix": "b"}}}, "completion.suffix"),
    ],
)
async def test_what_is_no_prompt_is_refused_by_name(stack: Stack, more: dict[str, object], field: str) -> None:
    asked = {
        "model": METHODS["vllm"].model,
        "messages": [{"role": "ROLE_USER", "content": "a"}],
        "options": {"completion": {}},
    }
    async with httpx.AsyncClient(base_url=stack.url, headers={"authorization": f"Bearer {stack.key}"}) as http:
        answer = await http.post("/v1/chat", json=asked | more)
    assert answer.status_code == 400
    assert f'"field":"{field}"' in answer.text.replace('": "', '":"')
