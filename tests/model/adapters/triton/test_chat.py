"""Chat models in Triton, asked as callers of the model service ask: streams, cancellation, and typed ends."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, text_format
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import (
    ListModelsRequest,
    ListRepositoryModelsRequest,
    LoadModelRequest,
    Model,
    RepositoryModel,
    UnloadModelRequest,
)
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP
from soma.model.v1.model_service_pb2 import EmbedRequest, GenerateRequest, GenerateResponse, TokenNumbers
from soma.model.v1.options_pb2 import ResponseFormat
from tritonclient.grpc.model_config_pb2 import ModelConfig

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.model.adapters.triton.server import MODELS, TritonServer, gone, triton
from tests.model.conftest import Models, Serving, asking

SLM = "smollm2-135m-instruct"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, bare: None) -> Any:
    """Settings of the service for the Triton at a URL."""

    def set_url(url: str) -> None:
        monkeypatch.setenv("SOMA_TRITON_URL", url)
        monkeypatch.setenv("SOMA_EMBEDDING_PRECISION", "fp32")

    return set_url


@pytest.fixture
async def models(serving: Serving, given: Any, running: TritonServer) -> AsyncIterator[Models]:
    given(running.url)
    async with serving() as service:
        yield service


def ticking(model: str = "ticker", **params: object) -> GenerateRequest:
    request = asking("Tick.", model)
    request.options.provider_params = json.dumps(params)
    return request


async def read(models: Models, request: GenerateRequest) -> Sequence[GenerateResponse]:
    with run_as(SOMEBODY):
        return [each async for each in models.model.Generate(request)]


def text_of(events: Sequence[GenerateResponse]) -> str:
    return "".join(each.delta.text or each.answer.delta.text for each in events)


async def test_its_models_are_listed_with_what_they_do(models: Models) -> None:
    with run_as(SOMEBODY):
        listed = {
            each.name: each
            for each in (await models.catalogue.ListModels(ListModelsRequest())).models
            if each.provider == "triton"
        }
    assert {SLM, "ticker", "odd", "slow"} == set(listed)
    assert Model.CAPABILITY_CHAT in listed[SLM].capabilities and listed[SLM].context_window == 4096
    assert list(listed["odd"].capabilities) == [Model.CAPABILITY_EMBEDDING]
    assert not any(each.default for each in listed.values())


async def test_an_answer_is_streamed_and_counted(models: Models) -> None:
    request = asking("Say hello.", SLM)
    request.options.sampling.max_tokens = 8
    events = await read(models, request)
    assert len([each for each in events if each.delta.text]) > 1
    finished = events[-1].finished
    assert finished.finish_reason == FINISH_REASON_LENGTH
    assert finished.usage.completion_tokens == 8 and finished.usage.prompt_tokens > 8


async def test_the_same_seed_gives_the_same_answer_streamed_or_whole(models: Models) -> None:
    answers = []
    for whole in (False, True, False):
        request = asking("Tell a short story.", SLM)
        request.options.sampling.max_tokens, request.options.sampling.seed = 24, 7
        request.options.sampling.temperature = 0.9
        request.options.whole = whole
        answers.append(text_of(await read(models, request)))
    assert answers[0] and len(set(answers)) == 1


async def test_words_come_when_they_are_said(models: Models) -> None:
    begun = time.monotonic()
    with run_as(SOMEBODY):
        first = None
        async for event in models.model.Generate(ticking(words=5, every=0.2)):
            if event.delta.text and first is None:
                first = time.monotonic() - begun
    assert first is not None and first < 0.8
    assert event.finished.finish_reason == FINISH_REASON_STOP


def noted(note: Path) -> bool:
    return note.exists() and bool(note.read_text())


async def test_a_caller_that_leaves_is_known_to_the_model_within_100_ms(models: Models, tmp_path: Path) -> None:
    delays = []
    for number in range(10):
        note = tmp_path / str(number)
        with run_as(SOMEBODY):
            call = models.model.Generate(ticking(words=100_000, every=0.005, note=str(note)))
            async for event in call:
                if event.delta.text:
                    break
            left = time.monotonic()
            call.cancel()
        await until(partial(noted, note))
        delays.append(float(note.read_text()) - left)
    assert sorted(delays)[len(delays) // 2] < 0.1


async def failure(models: Models, request: GenerateRequest) -> MeshError:
    """How a generation fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await read(models, request)
    return from_rpc_error(failed.value)


async def test_vectors_of_a_model_of_its_own_name(models: Models) -> None:
    with run_as(SOMEBODY):
        answer = await models.model.Embed(EmbedRequest(model="odd", input=["4", "4"]))
    assert [len(each.embedding) for each in answer.vectors] == [4, 4]
    assert answer.vector_length == 4 and answer.usage.total_tokens == 2


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("dimensions", EmbedRequest(model="odd", input=["4"], dimensions=3)),
        ("tokens", EmbedRequest(model="odd", tokens=[TokenNumbers(numbers=[1])])),
    ],
)
async def test_what_it_cannot_do_is_refused_by_name(models: Models, field: str, request_: EmbedRequest) -> None:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as refused:
        await models.model.Embed(request_)
    error = from_rpc_error(refused.value)
    assert error.reason == reasons.PARAMETER_NOT_SUPPORTED
    assert [each.field for each in error.facts.violations] == [field]


async def test_an_error_of_the_model_ends_the_answer_with_its_text(models: Models) -> None:
    request = asking("Hello", SLM)
    request.options.response_format.type = ResponseFormat.TYPE_JSON_SCHEMA
    request.options.response_format.schema = '{"type": "nothing that is known"}'
    error = await failure(models, request)
    assert error.reason in (reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_REFUSED_REQUEST)
    # The model goes on serving.
    again = asking("Hello", SLM)
    again.options.sampling.max_tokens = 2
    assert (await read(models, again))[-1].HasField("finished")


async def repository(models: Models) -> dict[str, RepositoryModel]:
    with run_as(SOMEBODY):
        answer = await models.catalogue.ListRepositoryModels(ListRepositoryModelsRequest())
    assert answer.provider == "triton"
    return {each.name: each for each in answer.models}


async def test_a_model_is_unloaded_and_loaded_by_contract(models: Models) -> None:
    with run_as(SOMEBODY):
        await models.catalogue.UnloadModel(UnloadModelRequest(name="ticker"))

        async def gone() -> bool:
            return not (await repository(models))["ticker"].loaded

        await until(gone)
    assert (await failure(models, ticking())).reason == reasons.MODEL_NOT_FOUND
    with run_as(SOMEBODY):
        answer = await models.catalogue.LoadModel(LoadModelRequest(name="ticker"))
    assert answer.model.loaded and answer.model.model == "ticker"
    assert text_of(await read(models, ticking(words=2))) == "0 1 "


async def test_a_configuration_is_replaced_until_the_model_is_unloaded(models: Models) -> None:
    configuration = text_format.Parse((MODELS / "ticker" / "config.pbtxt").read_text(), ModelConfig())
    configuration.parameters["model"].string_value = "clock"
    given = json_format.MessageToJson(configuration, preserving_proto_field_name=True)
    with run_as(SOMEBODY):
        request = LoadModelRequest(name="ticker", configuration=given)
        assert (await models.catalogue.LoadModel(request)).model.model == "clock"
    assert text_of(await read(models, ticking("clock", words=2))) == "0 1 "
    with run_as(SOMEBODY):
        await models.catalogue.UnloadModel(UnloadModelRequest(name="ticker"))
        assert (await models.catalogue.LoadModel(LoadModelRequest(name="ticker"))).model.model == "ticker"


@pytest.mark.parametrize(
    ("request_", "reason", "said"),
    [
        (LoadModelRequest(name="broken"), reasons.MODEL_LOAD_FAILED, "the weights are of last year"),
        (LoadModelRequest(name="nobody"), reasons.MODEL_LOAD_FAILED, "nobody"),
        (LoadModelRequest(name="ticker", configuration="[1]"), reasons.INVALID_ARGUMENT, "configuration"),
        (LoadModelRequest(name="ticker", configuration='{"backend": 7}'), reasons.MODEL_LOAD_FAILED, "ticker"),
        (LoadModelRequest(name="ticker", provider="other"), reasons.MODEL_NOT_FOUND, "triton"),
        (UnloadModelRequest(name="nobody"), reasons.MODEL_NOT_FOUND, "nobody"),
    ],
)
async def test_what_cannot_be_loaded_is_said_in_the_words_of_the_server(
    models: Models, request_: LoadModelRequest | UnloadModelRequest, reason: str, said: str
) -> None:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as refused:
        if isinstance(request_, LoadModelRequest):
            await models.catalogue.LoadModel(request_)
        else:
            await models.catalogue.UnloadModel(request_)
    error = from_rpc_error(refused.value)
    assert error.reason == reason and said in error.message
    # The others are served as before.
    assert text_of(await read(models, ticking(words=2))) == "0 1 "


async def test_without_triton_nothing_loads_models(serving: Serving) -> None:
    async with serving() as models:
        with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as refused:
            await models.catalogue.ListRepositoryModels(ListRepositoryModelsRequest())
        assert "soma up --triton" in from_rpc_error(refused.value).message


@pytest.fixture(scope="module")
async def mortal(directory: Path) -> AsyncIterator[TritonServer]:
    """A server that tests kill and freeze."""
    async with triton(directory, "ticker") as server:
        yield server


async def test_killed_in_the_middle_of_an_answer_it_ends_with_a_typed_error(
    serving: Serving, given: Any, mortal: TritonServer
) -> None:
    given(mortal.url)
    async with serving(refresh_interval=0.2) as models:
        programs = mortal.models
        with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as cut:
            async for event in models.model.Generate(ticking(words=10_000, every=0.01)):
                if event.delta.text:
                    await mortal.stop(SIGKILL)
        assert from_rpc_error(cut.value).reason == reasons.PROVIDER_STREAM_CUT
        assert (await failure(models, ticking())).reason == reasons.PROVIDER_UNAVAILABLE
        await until(partial(gone, programs), "the models' processes to end", seconds=30)
        await mortal.start()

        async def back() -> bool:
            with run_as(SOMEBODY):
                listed = (await models.catalogue.ListModels(ListModelsRequest())).models
            return any(each.name == "ticker" and each.available for each in listed)

        await until(back, seconds=240.0)
        assert text_of(await read(models, ticking(words=2))) == "0 1 "


async def test_frozen_in_the_middle_of_an_answer_it_ends_in_time(
    serving: Serving, given: Any, mortal: TritonServer
) -> None:
    given(mortal.url)
    async with serving(idle_timeout=0.5, first_byte_timeout=0.5) as models:
        try:
            with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as silent:
                async for event in models.model.Generate(ticking(words=10_000, every=0.01)):
                    if event.delta.text:
                        mortal.freeze()
            assert from_rpc_error(silent.value).reason == reasons.PROVIDER_TIMEOUT
            assert (await failure(models, ticking())).reason == reasons.PROVIDER_TIMEOUT
        finally:
            mortal.thaw()
