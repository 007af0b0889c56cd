"""Models made from settings, on the real server: encoders alone and as ensembles, rerankers, and llama.cpp."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model
from soma.model.v1.media_service_pb2 import GenerateImageRequest, SpeakRequest, TranscribeRequest, TranslateRequest
from soma.model.v1.model_service_pb2 import EmbedRequest, ModerateRequest, RerankRequest

from services.mesh.call.call import run_as
from services.mesh.call.errors import InvalidArgument, MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.adapters.triton.discovery import Served
from services.model.adapters.triton.reranking import Reranking
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.vectors import vectors
from tests.model.adapters.triton import small
from tests.model.adapters.triton.server import TritonServer
from tests.model.conftest import Models, Serving, asking

SECONDS = 30.0
TEXTS = ["w1", "w2 w3 w4", "", "w5 nobody w6 w7 w8 w9 w10 w11 w12", "w3 w2"]


@pytest.fixture
async def there(rendered: TritonServer) -> AsyncIterator[Server]:
    connection = Server(TritonSettings(url=rendered.url))
    yield connection
    await connection.close()


@pytest.fixture
async def models(
    serving: Serving, bare: None, monkeypatch: pytest.MonkeyPatch, rendered: TritonServer
) -> AsyncIterator[Models]:
    monkeypatch.setenv("SOMA_TRITON_URL", rendered.url)
    monkeypatch.setenv("SOMA_EMBEDDING_PRECISION", "fp32")
    async with serving() as service:
        yield service


@pytest.fixture
def tokens(tmp_path: Path) -> Any:
    """The numbers of a text's tokens."""
    tokenizer = small.write_word_tokenizer(tmp_path / "words.json")
    return lambda text: tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("model", "pooling"), [("tiny", "mean"), ("tiny_cls", "cls"), ("whole", "mean"), ("whole_last", "last")]
)
async def test_an_encoder_gives_the_vectors_of_its_graph(there: Server, tokens: Any, model: str, pooling: str) -> None:
    found = await vectors(there, model, TEXTS, 64, SECONDS)
    expected = np.array([small.vector(tokens(text), pooling) for text in TEXTS])
    assert np.allclose(found.vectors, expected, atol=1e-5)
    assert found.tokens.tolist() == [len(tokens(text)) for text in TEXTS]
    assert found.windows is None
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1.0, atol=1e-5)


async def test_an_ensemble_serves_many_callers_at_once(there: Server, tokens: Any) -> None:
    texts = [" ".join(f"w{(number * step) % 60}" for step in range(1, 2 + number % 9)) for number in range(60)]
    found = await asyncio.gather(*(vectors(there, "whole", [text], 64, SECONDS) for text in texts))
    for text, each in zip(texts, found, strict=True):
        assert np.allclose(each.vectors[0], small.vector(tokens(text), "mean"), atol=1e-5)


async def test_a_long_text_has_windows_alone_and_is_refused_by_an_ensemble(there: Server) -> None:
    long = " ".join(["w1"] * 40)
    found = await vectors(there, "tiny", [long], 64, SECONDS)
    assert found.windows is not None and found.windows.tolist() == [3]
    with pytest.raises(InvalidArgument) as refused:
        await vectors(there, "whole", [long], 64, SECONDS)
    assert refused.value.reason == reasons.PROVIDER_REFUSED_REQUEST
    assert "42 tokens" in refused.value.message and "reads 16" in refused.value.message


async def test_one_long_text_fails_alone_in_an_ensemble(there: Server) -> None:
    calls = [vectors(there, "whole", [text], 64, SECONDS) for text in ("w1", " ".join(["w1"] * 40), "w2")]
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(second, InvalidArgument)
    assert not isinstance(first, BaseException) and not isinstance(third, BaseException)


async def test_models_made_from_settings_are_listed_with_what_they_do(models: Models) -> None:
    with run_as(SOMEBODY):
        found = (await models.catalogue.ListModels(ListModelsRequest())).models
    listed = {each.name: set(each.capabilities) for each in found if each.provider == "triton"}
    assert listed["tiny"] == listed["whole"] == {Model.CAPABILITY_EMBEDDING}
    assert listed["tiny-reranker"] == listed["whole_sorter"] == {Model.CAPABILITY_RERANK}
    assert listed["by_llmapi"] == {Model.CAPABILITY_COMPLETION}
    # Parts of ensembles are no models of their own.
    assert not {"whole_tokenizer", "whole_graph", "whole_pooling"} & listed.keys()


async def test_an_ensemble_makes_vectors_by_contract(models: Models, tokens: Any) -> None:
    with run_as(SOMEBODY):
        answer = await models.model.Embed(EmbedRequest(model="whole", input=["w1 w2"]))
    assert np.allclose(answer.vectors[0].embedding, small.vector(tokens("w1 w2"), "mean"), atol=1e-5)
    assert answer.usage.total_tokens == 4
    await models.usage()


def documents(count: int) -> Sequence[str]:
    return [" ".join(f"w{(number * 7 + step) % 60}" for step in range(1 + number % 5)) for number in range(count)]


@pytest.mark.parametrize("model", ["tiny-reranker", "whole_sorter"])
async def test_documents_are_sorted_by_their_scores(models: Models, model: str) -> None:
    given = documents(23)
    with run_as(SOMEBODY):
        answer = await models.model.Rerank(RerankRequest(model=model, query="w1 w2", documents=given))
    expected = sorted(range(len(given)), key=lambda index: -small.score(given[index]))
    found = [each.index for each in answer.results]
    assert sorted(found) == list(range(23))
    assert [round(small.score(given[index]), 3) for index in found] == [
        round(small.score(given[index]), 3) for index in expected
    ]
    for each in answer.results:
        assert each.relevance_score == pytest.approx(small.score(given[each.index]), abs=1e-4)
    # The question, the document, and three marks.
    assert answer.usage.total_tokens == sum(2 + len(each.split()) + 3 for each in given)
    assert not answer.usage.estimated and answer.provider == "triton"
    (record,) = await models.usage()
    assert record.model == model


async def test_the_best_are_enough_and_a_model_need_not_be_named(models: Models) -> None:
    given = documents(9)
    with run_as(SOMEBODY):
        answer = await models.model.Rerank(RerankRequest(query="w1", documents=given, top_n=2))
    assert [each.relevance_score for each in answer.results] == pytest.approx(
        sorted((small.score(each) for each in given), reverse=True)[:2], abs=1e-4
    )
    await models.usage()


async def failure(method: Any, request: Any) -> MeshError:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as failed:
        await method(request)
    return from_rpc_error(failed.value)


async def test_what_a_reranker_has_not_is_refused_by_name(models: Models) -> None:
    request = RerankRequest(model="tiny-reranker", query="w1", documents=["w2"], provider_params='{"truncate": true}')
    error = await failure(models.model.Rerank, request)
    assert error.reason == reasons.PARAMETER_NOT_SUPPORTED
    assert [each.field for each in error.facts.violations] == ["provider_params.truncate"]
    error = await failure(models.model.Embed, EmbedRequest(model="tiny-reranker", input=["w1"]))
    assert error.reason == reasons.MODEL_CAPABILITY_MISSING
    judged = ModerateRequest(model="tiny-reranker")
    judged.inputs.add().parts.add().text.text = "w1"
    error = await failure(models.model.Moderate, judged)
    assert error.reason == reasons.MODEL_CAPABILITY_MISSING


async def test_the_methods_that_the_provider_has_not_are_refused(there: Server) -> None:
    methods = Reranking(there, lambda name: Served(name, name, "rerank"), SECONDS)
    assert list(methods.capabilities) == [Model.CAPABILITY_RERANK]
    calls: tuple[tuple[Any, Any], ...] = (
        (methods.transcribe, TranscribeRequest()),
        (methods.speak, SpeakRequest()),
        (methods.draw, GenerateImageRequest()),
        (methods.translate, TranslateRequest()),
        (methods.moderate, ModerateRequest()),
    )
    for method, request in calls:
        with pytest.raises(InvalidArgument) as refused:
            await method(request, "tiny-reranker")
        assert refused.value.reason == reasons.MODEL_CAPABILITY_MISSING


async def test_a_gguf_file_of_the_settings_answers(models: Models) -> None:
    request = asking("Say hello.", "small")
    request.options.sampling.max_tokens = 4
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert "".join(event.delta.text for event in events)
    assert events[-1].finished.usage.completion_tokens == 4
