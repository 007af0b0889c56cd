"""Models that take a text: those of the backends for vLLM and TensorRT-LLM, asked as callers of the service ask.

The models have exactly the inputs and outputs of those backends, and repeat the prompt.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model
from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, ROLE_SYSTEM, ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerateResponse, InferRequest
from soma.model.v1.options_pb2 import Completion, ResponseFormat, Tool

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from tests.model.adapters.triton.server import TritonServer
from tests.model.conftest import Models, Serving, asking

VLLM, ENSEMBLE, LLMAPI = "vllm-test", "by_ensemble", "by_llmapi"
FOLDERS = {VLLM: "by_vllm", ENSEMBLE: "by_ensemble", LLMAPI: "by_llmapi"}


@pytest.fixture
async def models(
    serving: Serving, bare: None, monkeypatch: pytest.MonkeyPatch, rendered: TritonServer
) -> AsyncIterator[Models]:
    monkeypatch.setenv("SOMA_TRITON_URL", rendered.url)
    monkeypatch.setenv("SOMA_EMBEDDING_PRECISION", "fp32")
    async with serving() as service:
        yield service


@pytest.fixture
def seen(rendered: TritonServer) -> Any:
    """What a model was asked last."""

    def read(model: str, file: str = "seen.json") -> Any:
        return json.loads((rendered.repository / FOLDERS[model] / file).read_text())

    return read


def continuing(prompt: str, model: str) -> GenerateRequest:
    request = asking(prompt, model)
    request.options.completion.CopyFrom(Completion())
    return request


async def read(models: Models, request: GenerateRequest) -> Sequence[GenerateResponse]:
    with run_as(SOMEBODY):
        return [each async for each in models.model.Generate(request)]


def text_of(events: Sequence[GenerateResponse]) -> str:
    return "".join(each.delta.text or each.answer.delta.text for each in events)


async def failure(models: Models, request: GenerateRequest) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await read(models, request)
    return from_rpc_error(failed.value)


async def test_those_with_a_chat_template_chat_and_all_continue_prompts(models: Models) -> None:
    with run_as(SOMEBODY):
        found = (await models.catalogue.ListModels(ListModelsRequest())).models
    listed = {each.name: each for each in found if each.provider == "triton"}
    both = {Model.CAPABILITY_CHAT, Model.CAPABILITY_COMPLETION}
    assert set(listed[VLLM].capabilities) == both == set(listed[ENSEMBLE].capabilities)
    assert listed[VLLM].context_window == 4096
    assert set(listed[LLMAPI].capabilities) == {Model.CAPABILITY_COMPLETION}
    error = await failure(models, asking("Hello", LLMAPI))
    assert error.reason == reasons.MODEL_CAPABILITY_MISSING


@pytest.mark.parametrize("whole", [False, True])
async def test_a_conversation_is_written_by_the_template_of_the_model(models: Models, whole: bool) -> None:
    request = GenerateRequest(
        model=VLLM,
        messages=[Message(role=ROLE_SYSTEM, content="Be brief."), Message(role=ROLE_USER, content="How far?")],
    )
    request.options.whole = whole
    request.options.sampling.max_tokens = 50
    events = await read(models, request)
    assert text_of(events) == "system: Be brief. user: How far? assistant:"
    last = events[-1].answer.finished if whole else events[-1].finished
    assert last.finish_reason == FINISH_REASON_STOP
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 7) and not last.usage.estimated
    pieces = [each for each in events if each.delta.text]
    assert len(pieces) > 1 or whole
    await models.usage()


@pytest.mark.parametrize("model", [VLLM, ENSEMBLE, LLMAPI])
@pytest.mark.parametrize("whole", [False, True])
async def test_a_prompt_is_continued_as_it_is(models: Models, model: str, whole: bool) -> None:
    request = continuing("one two three four", model)
    request.options.whole = whole
    request.options.sampling.max_tokens = 30
    events = await read(models, request)
    assert text_of(events) == "one two three four"
    last = events[-1].answer.finished if whole else events[-1].finished
    assert last.finish_reason == FINISH_REASON_STOP


@pytest.mark.parametrize("model", [VLLM, ENSEMBLE, LLMAPI])
async def test_an_answer_at_its_limit_says_so(models: Models, model: str) -> None:
    request = continuing("one two three four", model)
    request.options.sampling.max_tokens = 2
    events = await read(models, request)
    assert text_of(events) == "one two"
    assert events[-1].finished.finish_reason == FINISH_REASON_LENGTH


async def test_an_answer_without_a_limit_has_that_of_the_configuration(models: Models, seen: Any) -> None:
    events = await read(models, continuing(" ".join(["word"] * 20), VLLM))
    assert json.loads(seen(VLLM)["sampling_parameters"][0]) == {"max_tokens": 7}
    assert text_of(events) == " ".join(["word"] * 7)
    assert events[-1].finished.finish_reason == FINISH_REASON_LENGTH


def sampled(model: str) -> GenerateRequest:
    request = continuing("one", model)
    sampling = request.options.sampling
    sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k = 9, 0.5, 0.25, 40
    sampling.presence_penalty, sampling.frequency_penalty, sampling.seed = 0.75, -0.5, 12
    sampling.stop_sequences.extend(["END", "STOP"])
    return request


async def test_vllm_gets_the_sampling_as_json_and_further_parameters(models: Models, seen: Any) -> None:
    request = sampled(VLLM)
    request.options.sampling.repetition_penalty = 1.5
    request.options.provider_params = '{"min_p": 0.05, "ignore_eos": true}'
    await read(models, request)
    assert json.loads(seen(VLLM)["sampling_parameters"][0]) == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 40,
        "seed": 12,
        "stop": ["END", "STOP"],
        "presence_penalty": 0.75,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.5,
        "min_p": 0.05,
        "ignore_eos": True,
    }
    assert seen(VLLM)["stream"] == ["True"] and seen(VLLM)["exclude_input_in_output"] == ["True"]


async def test_tensorrt_llm_gets_the_sampling_as_tensors(models: Models, seen: Any) -> None:
    await read(models, sampled(ENSEMBLE))
    found = seen(ENSEMBLE)
    assert found["stop_words"] == ["END", "STOP"]
    assert {name: float(found[name][0][0]) for name in ("max_tokens", "temperature", "top_p", "top_k", "seed")} == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 40,
        "seed": 12,
    }
    assert [float(found[f"{name}_penalty"][0][0]) for name in ("presence", "frequency")] == [0.75, -0.5]
    assert found["exclude_input_in_output"] == [["True"]] and found["stream"] == [["True"]]


async def test_the_llmapi_model_gets_its_own_names_and_what_it_lacks_is_refused(models: Models, seen: Any) -> None:
    await read(models, sampled(LLMAPI))
    found = seen(LLMAPI)
    assert found["sampling_param_stop"] == ["END", "STOP"]
    assert float(found["sampling_param_temperature"][0]) == 0.5 and found["sampling_param_max_tokens"] == ["9"]
    request = sampled(LLMAPI)
    request.options.sampling.repetition_penalty = 1.5
    error = await failure(models, request)
    assert error.reason == reasons.PARAMETER_NOT_SUPPORTED
    assert [each.field for each in error.facts.violations] == ["sampling.repetition_penalty"]


async def test_tools_and_forms_of_answers_are_refused_by_name(models: Models) -> None:
    request = asking("Hello", VLLM)
    request.options.tools.append(Tool(name="look"))
    error = await failure(models, request)
    assert error.reason == reasons.PARAMETER_NOT_SUPPORTED
    assert [each.field for each in error.facts.violations] == ["options.tools"]
    request = asking("Hello", ENSEMBLE)
    request.options.response_format.type = ResponseFormat.TYPE_JSON_OBJECT
    assert (await failure(models, request)).reason == reasons.PARAMETER_NOT_SUPPORTED
    request = continuing("Hello", ENSEMBLE)
    request.options.provider_params = '{"beam_width": 4}'
    error = await failure(models, request)
    assert [each.field for each in error.facts.violations] == ["provider_params.beam_width"]


async def test_an_error_of_the_model_ends_the_answer_with_its_text(models: Models) -> None:
    error = await failure(models, continuing("please fail", VLLM))
    assert error.reason in (reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_REFUSED_REQUEST)
    assert "asked to fail" in error.message
    assert text_of(await read(models, continuing("one", VLLM))) == "one"


async def test_a_completion_by_the_other_method_of_the_contract(models: Models) -> None:
    with run_as(SOMEBODY):
        answer = await models.model.Infer(InferRequest(model=VLLM, prompt="one two three", max_tokens=2))
    assert (answer.completion, answer.finish_reason) == ("one two", "length")


@pytest.mark.parametrize("model", [VLLM, ENSEMBLE, LLMAPI])
async def test_many_are_answered_at_once(models: Models, model: str) -> None:
    requests = [continuing(f"the number {number} of many", model) for number in range(24)]
    answers = await asyncio.gather(*(read(models, request) for request in requests))
    assert [text_of(each) for each in answers] == [f"the number {number} of many" for number in range(24)]
