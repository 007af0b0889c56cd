"""The service as a process builds it."""

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Provider
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub

from services.mesh.call.call import run_as
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.events.outbox import Outbox
from services.mesh.process.jobs import run_jobs
from services.mesh.service import Service
from services.mesh.stores.postgres import ping
from services.mesh.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.mesh.testing.local import SOMEBODY, LocalMesh
from services.mesh.testing.upstreams import FakeUpstream
from services.model.embedding import minilm
from services.model.main import SERVICE
from services.model.service import CatalogService
from services.model.settings import ModelSettings
from tests.ports import free_port

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

    from services.mesh.stores.postgres import Pool

pytestmark = pytest.mark.usefixtures("nothing_left")


class Host:
    """As much of a Mesh as the service asks for."""

    def __init__(self, pool: "Pool", redis: aioredis.Redis, data_dir: Path) -> None:
        self.postgres = pool
        self.redis = redis
        self.data_dir = data_dir
        self.outbox = Outbox("model", SERVICE.sends)

    async def check_postgres(self) -> None:
        await ping(self.postgres)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the vectors' model is built, once for these tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def host(
    database: "Pool",
    redis: aioredis.Redis,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")
    return Host(database, redis, data_dir)


async def built(host: Any, stack: AsyncExitStack) -> Service:
    """The service, and its jobs at work."""
    service = await SERVICE.build(host, ModelSettings(), stack)
    run_jobs(stack, SERVICE.name, service.jobs, host.postgres)
    return service


async def listed(host: Any) -> dict[str, bool]:
    async with AsyncExitStack() as stack:
        service = await built(host, stack)
        await service.checks["postgres"]()
        await service.wants["llm"]()
        (catalogue,) = (servicer for _, servicer in service.servicers if isinstance(servicer, CatalogService))
        response = await catalogue.ListModels(ListModelsRequest(), None)  # type: ignore[arg-type]
        return {model.name: model.available for model in response.models}


async def test_vendors_of_the_environment_are_found_and_one_becomes_the_default(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream() as openai, FakeUpstream(AnthropicDialect(), models=("claude-haiku",)) as anthropic:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-2")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic.url)
        found = await listed(host)
    assert next(iter(found)) == "fake-large"
    assert found["claude-haiku"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sk-1", "check OPENAI_API_KEY in the environment"),
        ("", "it wants a key: set OPENAI_API_KEY in the environment"),
    ],
)
async def test_a_key_that_is_refused_or_missing_is_named_by_its_variable(
    host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, said: str
) -> None:
    async with FakeUpstream(behaviour=Behaviour(fault=Fault.UNAUTHORIZED)) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        monkeypatch.setenv("OPENAI_API_KEY", key)
        (tmp_path / "soma.toml").write_text(f'[model]\ncatalogue = "{tmp_path / "catalogue.toml"}"\n')
        (tmp_path / "catalogue.toml").write_text(
            f'[[provider]]\nname = "mine"\nbase_url = "{fake.url}"\nmodels = ["m"]\napi_key_env = "OPENAI_API_KEY"\n'
        )
        async with AsyncExitStack() as stack:
            service = await built(host, stack)
            (catalogue,) = (servicer for _, servicer in service.servicers if isinstance(servicer, CatalogService))
            response = await catalogue.ListModels(ListModelsRequest(), None)  # type: ignore[arg-type]
    (mine,) = (model for model in response.models if model.name == "m")
    assert said in mine.unavailable_reason


async def test_each_provider_says_whether_it_can_be_used_and_why_not(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream() as ready, FakeUpstream(behaviour=Behaviour(fault=Fault.UNAUTHORIZED)) as strict:
        monkeypatch.setenv("VLLM_BASE_URL", ready.url)
        monkeypatch.setenv("GROQ_API_KEY", "gsk-1")
        monkeypatch.setenv("GROQ_BASE_URL", f"{strict.url}/v1")
        monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", f"http://127.0.0.1:{free_port()}")
        async with AsyncExitStack() as stack:
            service = await built(host, stack)
            (catalogue,) = (servicer for _, servicer in service.servicers if isinstance(servicer, CatalogService))
            response = await catalogue.ListModels(ListModelsRequest(), None)  # type: ignore[arg-type]
    found = {each.name: each for each in response.providers}
    assert list(found)[:4] == ["local", "groq", "vllm", "ollama"]
    assert (found["vllm"].state, found["vllm"].models, found["vllm"].reason) == (Provider.STATE_READY, 2, "")
    assert found["groq"].state == Provider.STATE_KEY_REFUSED
    assert "check GROQ_API_KEY in the environment" in found["groq"].reason
    assert found["ollama"].state == Provider.STATE_UNREACHABLE
    assert (found["mistral"].state, found["mistral"].reason) == (Provider.STATE_NOT_SET, "set MISTRAL_API_KEY")


async def test_a_vendor_in_the_data_directory_is_found_and_one_that_is_wrong_stops_the_start(
    host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A directory of its own, with the vectors' model of the others.
    (tmp_path / "models").symlink_to(host.data_dir / "models")
    host.data_dir = tmp_path
    (tmp_path / "vendors").mkdir()
    file = tmp_path / "vendors" / "lab.toml"
    async with FakeUpstream(models=("lab-1",)) as fake:
        about = f'title = "The lab"\nabout = "https://lab.example"\n[server]\nurl = "{fake.url}/v1"\n'
        file.write_text(f'{about}key_variables = ["LAB_KEY"]\n')
        monkeypatch.setenv("LAB_KEY", "sk-1")
        assert (await listed(host))["lab-1"]
        file.write_text(f"{about}colour = 1\n")
        with pytest.raises(FailedPrecondition, match=r"lab\.toml is wrong: server\.colour: there is no such key"):
            await listed(host)


async def test_a_bare_machine_has_the_local_models_and_starts_with_one_of_them(host: Any) -> None:
    found = await listed(host)
    assert found == dict.fromkeys(("soma-extract-v1", "somasuite-markov-v1", "somasuite-embed-v1"), True)
    assert next(iter(found)) == "soma-extract-v1"


async def test_a_vendor_that_hangs_does_not_hold_up_the_start(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeUpstream(behaviour=Behaviour(fault=Fault.HANG)) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/v1")
        began = asyncio.get_running_loop().time()
        async with AsyncExitStack() as stack:
            await built(host, stack)
            assert asyncio.get_running_loop().time() - began < 5.0


async def test_a_conversation_does_not_wait_for_the_vectors_model(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = threading.Event()

    def never(settings: object) -> None:
        loaded.wait(30)
        raise FailedPrecondition("the test is over")

    monkeypatch.setattr(minilm, "_load", never)
    async with AsyncExitStack() as stack:
        stack.callback(loaded.set)
        service = await built(host, stack)
        with pytest.raises(Unavailable) as cold:
            await service.checks["embedder"]()
        assert cold.value.reason == "EMBEDDER_COLD"
        local = LocalMesh(service.servicers)
        stack.push_async_callback(local.channel.close)
        said = (ROLE_USER, "My sister Ada lives in Lisbon."), (ROLE_ASSISTANT, "Noted."), (ROLE_USER, "Where is Ada?")
        asked = GenerateRequest(
            model="soma-extract-v1", messages=[Message(role=role, content=text) for role, text in said]
        )
        with run_as(SOMEBODY):
            stub: ModelServiceAsyncStub = ModelServiceStub(local.channel)
            events = [event async for event in stub.Generate(asked, timeout=15)]
        assert "lives in Lisbon" in "".join(event.delta.text for event in events)
        assert not loaded.is_set()
