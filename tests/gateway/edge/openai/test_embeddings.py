"""Embeddings: vectors of texts, in OpenAI's shapes."""

import httpx
import openai as sdk
import orjson
import pytest
from openai import AsyncOpenAI

from gateway.edge.openai import embeddings
from services.mesh.call.errors import InvalidArgument
from tests.gateway.edge.conftest import Stand


async def test_openais_client_gets_vectors_in_the_order_of_its_texts(openai: AsyncOpenAI) -> None:
    answer = await openai.embeddings.create(model="small-embed", input=["a", "bbb"])
    assert [each.embedding for each in answer.data] == [[1.0, 0.0], [3.0, 1.0]]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("small-embed", 2, 2)


async def test_numbers_and_base64_are_the_same_vector(http: httpx.AsyncClient) -> None:
    asked = {"model": "small-embed", "input": "abc"}
    numbers = await http.post("/v1/embeddings", json=asked)
    assert numbers.json() == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [3.0, 0.0]}],
        "model": "small-embed",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    encoded = await http.post("/v1/embeddings", json=asked | {"encoding_format": "base64"})
    assert encoded.json()["data"][0]["embedding"] == "AABAQAAAAAA="


async def test_many_texts_are_embedded_in_batches_and_answered_together(openai: AsyncOpenAI, stand: Stand) -> None:
    texts = ["x" * (1 + index % 7) for index in range(250)]
    answer = await openai.embeddings.create(model="small-embed", input=texts)
    assert sorted(len(request.input) for request in stand.embedder.requests) == [50, 100, 100]
    assert [each.index for each in answer.data] == list(range(250))
    assert [each.embedding[0] for each in answer.data] == [len(text) for text in texts]
    assert answer.usage.total_tokens == 250


async def test_dimensions_are_the_models_own_or_refused(openai: AsyncOpenAI) -> None:
    assert len((await openai.embeddings.create(model="m", input="a", dimensions=2)).data[0].embedding) == 2
    with pytest.raises(sdk.BadRequestError) as caught:
        await openai.embeddings.create(model="m", input="a", dimensions=1)
    assert (caught.value.param, caught.value.code) == ("dimensions", "unsupported_value")


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ""}, "input", "invalid_value"),
        ({"input": ["a", ""]}, "input[1]", "invalid_value"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"input": [1, "a"]}, "input[1]", "invalid_type"),
        ({"input": [[1], []]}, "input[1]", "empty_array"),
        ({"input": [[1], "a"]}, "input[1]", "invalid_type"),
        ({"input": ["a", 1]}, "input[1]", "invalid_type"),
        ({"input": [1, -1]}, "input[1]", "integer_below_min_value"),
        ({"input": {"a": 1}}, "input", "invalid_type"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ({"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
    ],
)
async def test_a_request_is_refused_naming_the_parameter(
    http: httpx.AsyncClient, stand: Stand, asked: dict[str, object], param: str, code: str
) -> None:
    answer = await http.post("/v1/embeddings", json=asked)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)
    assert stand.embedder.requests == []


async def test_a_text_may_be_as_long_as_the_contract_allows() -> None:
    with pytest.raises(InvalidArgument) as refused:
        embeddings.READER.json(orjson.dumps({"input": ["a", "b" * 131_073]}))
    assert (refused.value.reason, refused.value.facts.violations[0].field) == ("STRING_ABOVE_MAX_LENGTH", "input[1]")
    assert embeddings.READER.json(orjson.dumps({"input": "b" * 131_072}))["input"] == "b" * 131_072


@pytest.mark.parametrize(("given", "sent"), [([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]])])
async def test_token_numbers_and_dimensions_are_passed_on(
    http: httpx.AsyncClient, stand: Stand, given: list[object], sent: list[list[int]]
) -> None:
    answer = await http.post("/v1/embeddings", json={"model": "m", "input": given, "dimensions": 2})
    assert answer.status_code == 200
    (request,) = stand.embedder.requests
    assert [list(each.numbers) for each in request.tokens] == sent
    assert (list(request.input), request.dimensions) == ([], 2)
    assert len(answer.json()["data"]) == len(sent)


async def test_a_header_has_the_number_of_windows_of_a_long_text(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.embedder.windows = 3
    long = await http.post("/v1/embeddings", json={"model": "m", "input": "a long text"})
    assert long.headers["somamesh-embedding-windows"] == "3"
    stand.embedder.windows = 1
    short = await http.post("/v1/embeddings", json={"model": "m", "input": "a text"})
    assert "somamesh-embedding-windows" not in short.headers
