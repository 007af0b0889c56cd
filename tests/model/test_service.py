"""Infer, Embed, the catalogue and the ledger through the contract."""

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model
from soma.model.v1.cost_service_pb2 import ListUsageRequest, UsageRecord
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import EmbedRequest, GenerateRequest, InferRequest
from soma.model.v1.options_pb2 import ResponseFormat, Tool, ToolChoice

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import AnthropicDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving, asking

pytestmark = pytest.mark.usefixtures("nothing_left")

EXTRACT = "soma-extract-v1"


@pytest.fixture
async def models(serving: Serving) -> AsyncIterator[Models]:
    async with (
        FakeUpstream() as openai,
        FakeUpstream(AnthropicDialect(), models=("claude-haiku",)) as anthropic,
        serving([openai, anthropic]) as models,
    ):
        yield models


async def refused(models: Models, request: GenerateRequest) -> MeshError:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in models.model.Generate(request):
            pass
    return from_rpc_error(raised.value)


async def generate(models: Models, request: GenerateRequest, principal: Principal = SOMEBODY) -> str:
    with run_as(principal):
        return "".join([event.delta.text async for event in models.model.Generate(request)])


async def test_infer_completes_a_prompt_and_is_recorded(models: Models) -> None:
    with run_as(SOMEBODY):
        first = await models.model.Infer(InferRequest(prompt="The mesh", seed=1))
        again = await models.model.Infer(InferRequest(prompt="The mesh", seed=1))
    assert first.model == "somasuite-markov-v1"
    assert first.completion == again.completion
    assert first.finish_reason in ("stop", "length")
    assert first.usage.prompt_tokens == 2
    assert 0 < first.usage.completion_tokens <= 64
    assert first.latency_ms > 0
    records = await models.usage(2)
    assert {record.outcome for record in records} == {UsageRecord.OUTCOME_FINISHED}


async def test_infer_reports_that_the_token_limit_was_reached(models: Models) -> None:
    with run_as(SOMEBODY):
        response = await models.model.Infer(InferRequest(prompt="The mesh", seed=1, max_tokens=1))
    assert (response.finish_reason, response.usage.completion_tokens) == ("length", 1)


async def test_infer_refuses_a_model_that_only_holds_conversations(models: Models) -> None:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        await models.model.Infer(InferRequest(prompt="x", model="fake-large"))
    error = from_rpc_error(raised.value)
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "MODEL_CAPABILITY_MISSING")
    await models.usage(0)


async def test_embed_returns_a_vector_a_text_in_order_and_of_length_1(models: Models) -> None:
    texts = ["red house", "blue house", "red house"]
    with run_as(SOMEBODY):
        response = await models.model.Embed(EmbedRequest(input=texts))
    assert (response.model, response.vector_length) == ("somasuite-embed-v1", 384)
    assert [vector.index for vector in response.vectors] == [0, 1, 2]
    vectors = np.array([vector.embedding for vector in response.vectors])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
    assert np.allclose(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    assert response.usage.total_tokens == 12


async def test_embed_keeps_lengths_without_normalisation(models: Models) -> None:
    with run_as(SOMEBODY):
        response = await models.model.Embed(EmbedRequest(input=["red blue green house"], normalize=False))
    assert np.linalg.norm(response.vectors[0].embedding) > 1.5


async def test_embed_refuses_unknown_models_and_models_that_do_not_embed(models: Models) -> None:
    for name, code in (("fake-large", Code.INVALID_ARGUMENT), ("no-such", Code.NOT_FOUND)):
        with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
            await models.model.Embed(EmbedRequest(input=["x"], model=name))
        assert from_rpc_error(raised.value).code == code


async def test_every_model_is_listed_with_what_it_can_do(models: Models) -> None:
    with run_as(SOMEBODY):
        listed = (await models.catalogue.ListModels(ListModelsRequest())).models
    capabilities = {model.name: list(model.capabilities) for model in listed}
    assert capabilities == {
        "fake-large": [Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
        "fake-small": [Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
        "claude-haiku": [Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
        "soma-extract-v1": [Model.CAPABILITY_CHAT],
        "somasuite-markov-v1": [Model.CAPABILITY_CHAT, Model.CAPABILITY_COMPLETION],
        "somasuite-embed-v1": [Model.CAPABILITY_EMBEDDING],
    }
    assert listed[0].default
    assert all(model.available for model in listed)
    assert {model.name: model.create_time.seconds for model in listed}["fake-large"] == 1_700_000_000


async def test_an_unknown_model_is_refused_and_costs_nothing(models: Models) -> None:
    error = await refused(models, asking(model="fake-lrage"))
    assert (error.code, error.reason) == (Code.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "fake-large" in error.message
    await models.usage(0)


async def test_a_local_model_refuses_tools_and_json(models: Models) -> None:
    request = asking(model=EXTRACT)
    request.options.tools.append(Tool(name="t"))
    assert await generate(models, request)
    request.options.tool_choice.mode = ToolChoice.MODE_REQUIRED
    assert (await refused(models, request)).reason == "MODEL_CAPABILITY_MISSING"
    request = asking(model=EXTRACT)
    request.options.response_format.type = ResponseFormat.TYPE_JSON_OBJECT
    assert (await refused(models, request)).facts.violations[0].field == "response_format"
    request.options.drop_params = True
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert events[0].started.dropped_params == ["response_format"]


async def test_a_local_model_refuses_a_picture_and_members_that_it_does_not_have(models: Models) -> None:
    request = asking(model=EXTRACT)
    request.options.provider_params = '{"min_p": 0.1}'
    assert (await refused(models, request)).facts.violations[0].field == "provider_params.min_p"
    request.options.drop_params = True
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert events[0].started.dropped_params == ["provider_params.min_p"]
    request.messages[0].parts.add().image.url = "https://a.example/a.png"
    assert (await refused(models, request)).reason == "MODEL_CAPABILITY_MISSING"


async def test_a_local_model_reads_texts_in_parts_and_names_the_stop_sequence(models: Models) -> None:
    request = asking("What is my dog called?", EXTRACT)
    request.messages.insert(0, Message(role=ROLE_USER))
    request.messages[0].parts.add().text.text = "My dog is called Biscuit."
    request.options.sampling.stop_sequences.append("Biscuit")
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert "".join(event.delta.text for event in events) == "“My dog is called "
    assert events[-1].finished.stop_sequence == "Biscuit"


async def test_a_local_answer_streams_its_sources(models: Models) -> None:
    request = asking("What is my dog called?", EXTRACT)
    request.messages.insert(0, Message(role=ROLE_USER, content="My dog is called Biscuit."))
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert events[0].started.provider == "local"
    assert events[-1].finished.sources[0].text == "My dog is called Biscuit."
    assert events[-1].finished.usage.prompt_tokens > 0


async def test_the_ledger_is_paged_newest_first_without_gaps_or_repeats(models: Models) -> None:
    for number in range(7):
        request = asking(model=EXTRACT)
        request.conversation_id = f"c{number % 2}"
        await generate(models, request)
    await models.usage(7)
    pages, token = [], ""
    with run_as(SOMEBODY):
        while True:
            page = await models.cost.ListUsage(ListUsageRequest(page_size=3, page_token=token))
            pages.append([record.generation_id for record in page.records])
            token = page.next_page_token
            if not token:
                break
        everything = await models.cost.ListUsage(ListUsageRequest())
        odd = await models.cost.ListUsage(ListUsageRequest(conversation_id="c1"))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [record.generation_id for record in everything.records] == [name for page in pages for name in page]
    starts = [record.start_time.ToNanoseconds() for record in everything.records]
    assert starts == sorted(starts, reverse=True)
    assert {record.conversation_id for record in odd.records} == {"c1"}
    assert len(odd.records) == 3


async def test_a_tenant_sees_its_own_usage_only(models: Models) -> None:
    await generate(models, asking(model=EXTRACT))
    await models.usage(1)
    with run_as(Principal("other", "bob", scopes=frozenset({"*"}))):
        assert not (await models.cost.ListUsage(ListUsageRequest())).records


@pytest.mark.parametrize("token", ["x", "!!", "bm90IGEgcGxhY2U=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5IHg="])
async def test_a_forged_page_token_is_refused(models: Models, token: str) -> None:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        await models.cost.ListUsage(ListUsageRequest(page_token=token))
    assert from_rpc_error(raised.value).reason == "PAGE_TOKEN_INVALID"


async def test_a_page_token_is_valid_only_for_its_conversation(models: Models) -> None:
    for _ in range(2):
        request = asking(model=EXTRACT)
        request.conversation_id = "c"
        await generate(models, request)
    await models.usage(2)
    with run_as(SOMEBODY):
        token = (await models.cost.ListUsage(ListUsageRequest(conversation_id="c", page_size=1))).next_page_token
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await models.cost.ListUsage(ListUsageRequest(page_token=token))
    assert from_rpc_error(raised.value).reason == "PAGE_TOKEN_INVALID"
