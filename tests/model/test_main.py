"""The service as `build` makes it."""

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest, Model, Provider
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.call import run_as
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.testing.local import SOMEBODY
from services.model.embedding import minilm
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving
from tests.ports import free_port

pytestmark = pytest.mark.usefixtures("nothing_left")


async def models_of(running: Models) -> list[Model]:
    with run_as(SOMEBODY):
        return list((await running.catalogue.ListModels(ListModelsRequest())).models)


async def listed(serving: Serving) -> dict[str, bool]:
    async with serving() as running:
        await running.service.checks["postgres"]()
        await running.service.wants["llm"]()
        return {model.name: model.available for model in await models_of(running)}


async def test_vendors_of_the_environment_are_found_and_one_becomes_the_default(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream() as openai, FakeUpstream(AnthropicDialect(), models=("claude-haiku",)) as anthropic:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{openai.url}/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-2")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic.url)
        found = await listed(serving)
    assert next(iter(found)) == "fake-large"
    assert found["claude-haiku"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("sk-1", "check OPENAI_API_KEY in the environment"),
        ("", "it wants a key: set OPENAI_API_KEY in the environment"),
    ],
)
async def test_the_error_for_a_refused_or_missing_key_names_its_variable(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, said: str
) -> None:
    async with FakeUpstream(behaviour=Behaviour(fault=Fault.UNAUTHORIZED)) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        monkeypatch.setenv("OPENAI_API_KEY", key)
        (tmp_path / "soma.toml").write_text(f'[model]\ncatalogue = "{tmp_path / "catalogue.toml"}"\n')
        (tmp_path / "catalogue.toml").write_text(
            f'[[provider]]\nname = "mine"\nbase_url = "{fake.url}"\nmodels = ["m"]\napi_key_env = "OPENAI_API_KEY"\n'
        )
        async with serving() as running:
            models = await models_of(running)
    (mine,) = (model for model in models if model.name == "m")
    assert said in mine.unavailable_reason


async def test_each_provider_says_whether_it_can_be_used_and_why_not(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream() as ready, FakeUpstream(behaviour=Behaviour(fault=Fault.UNAUTHORIZED)) as strict:
        monkeypatch.setenv("VLLM_BASE_URL", ready.url)
        monkeypatch.setenv("GROQ_API_KEY", "gsk-1")
        monkeypatch.setenv("GROQ_BASE_URL", f"{strict.url}/v1")
        async with serving(ollama_url=f"http://127.0.0.1:{free_port()}") as running:
            with run_as(SOMEBODY):
                listing = await running.catalogue.ListModels(ListModelsRequest())
    found = {each.name: each for each in listing.providers}
    assert list(found)[:4] == ["local", "groq", "vllm", "ollama"]
    assert (found["vllm"].state, found["vllm"].models, found["vllm"].reason) == (Provider.STATE_READY, 2, "")
    assert found["groq"].state == Provider.STATE_KEY_REFUSED
    assert "check GROQ_API_KEY in the environment" in found["groq"].reason
    assert found["ollama"].state == Provider.STATE_UNREACHABLE
    assert (found["mistral"].state, found["mistral"].reason) == (Provider.STATE_NOT_SET, "set MISTRAL_API_KEY")


async def test_a_vendor_file_of_the_user_is_found_and_an_invalid_one_stops_the_start(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vendors").mkdir()
    file = tmp_path / "vendors" / "lab.toml"
    async with FakeUpstream(models=("lab-1",)) as fake:
        about = f'title = "The lab"\nabout = "https://lab.example"\n[server]\nurl = "{fake.url}/v1"\n'
        file.write_text(f'{about}key_variables = ["LAB_KEY"]\n')
        monkeypatch.setenv("LAB_KEY", "sk-1")
        async with serving(vendors=tmp_path / "vendors") as running:
            assert "lab-1" in [model.name for model in await models_of(running)]
        file.write_text(f"{about}colour = 1\n")
        with pytest.raises(FailedPrecondition, match=r"lab\.toml is wrong: server\.colour: there is no such key"):
            async with serving(vendors=tmp_path / "vendors"):
                pass


async def test_without_providers_there_are_local_models_and_one_is_the_default(serving: Serving) -> None:
    found = await listed(serving)
    assert found == dict.fromkeys(("soma-extract-v1", "somasuite-markov-v1", "somasuite-embed-v1"), True)
    assert next(iter(found)) == "soma-extract-v1"


async def test_a_vendor_that_hangs_does_not_hold_up_the_start(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeUpstream(behaviour=Behaviour(fault=Fault.HANG)) as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/v1")
        began = asyncio.get_running_loop().time()
        async with serving():
            assert asyncio.get_running_loop().time() - began < 9.0


async def test_a_conversation_does_not_wait_for_the_vectors_model(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = threading.Event()

    def never(settings: object) -> None:
        loaded.wait(30)
        raise FailedPrecondition("the test is over")

    monkeypatch.setattr(minilm, "_load", never)
    async with serving() as running, AsyncExitStack() as stack:
        # A service that closes waits for its embedder.
        stack.callback(loaded.set)
        with pytest.raises(Unavailable) as cold:
            await running.service.checks["embedder"]()
        assert cold.value.reason == "EMBEDDER_COLD"
        said = (ROLE_USER, "My sister Ada lives in Lisbon."), (ROLE_ASSISTANT, "Noted."), (ROLE_USER, "Where is Ada?")
        asked = GenerateRequest(
            model="soma-extract-v1", messages=[Message(role=role, content=text) for role, text in said]
        )
        with run_as(SOMEBODY):
            events = [event async for event in running.model.Generate(asked, timeout=15)]
        assert "lives in Lisbon" in "".join(event.delta.text for event in events)
        assert not loaded.is_set()
