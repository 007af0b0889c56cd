"""What a vendor's list of models becomes."""

from collections.abc import Sequence

import pytest
from soma.model.v1.catalog_service_pb2 import Model

from services.mesh.errors import MeshError
from services.mesh.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.mesh.testing.upstreams import FakeUpstream
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import COMPATIBLE, OPENAI, Flavour, OpenAICompatible
from services.model.adapters.upstream import Patience, Upstream

QUICK = Patience(connect=1.0, first_byte=0.2, idle=0.2)


async def openai(flavour: Flavour, *names: str) -> Sequence[Model]:
    async with FakeUpstream(models=names) as fake, Upstream("openai", f"{fake.url}/v1", {}, QUICK) as upstream:
        return await OpenAICompatible(upstream, flavour).models()


async def test_of_openais_models_a_small_one_is_first_and_what_cannot_chat_says_so() -> None:
    listed = await openai(OPENAI, "whisper-1", "gpt-5-pro", "gpt-5-mini", "text-embedding-3-small", "dall-e-3")
    assert listed[0].name == "gpt-5-mini"
    chats = {model.name for model in listed if Model.CAPABILITY_CHAT in model.capabilities}
    assert chats == {"gpt-5-mini", "gpt-5-pro"}


async def test_other_servers_keep_their_order_and_their_instruct_models_chat() -> None:
    listed = await openai(COMPATIBLE, "meta/llama-3-8b-instruct", "nomic-embed-text", "gpt-5-mini")
    assert [model.name for model in listed] == ["meta/llama-3-8b-instruct", "nomic-embed-text", "gpt-5-mini"]
    assert [Model.CAPABILITY_CHAT in model.capabilities for model in listed] == [True, False, True]


async def test_of_anthropics_models_the_newest_small_one_is_first() -> None:
    names = ("claude-opus-5", "claude-haiku-4-5", "claude-haiku-4")
    async with (
        FakeUpstream(AnthropicDialect(), models=names) as fake,
        Upstream("anthropic", fake.url, {}, QUICK) as upstream,
    ):
        listed = await Anthropic(upstream).models()
    assert [model.name for model in listed] == ["claude-haiku-4-5", "claude-opus-5", "claude-haiku-4"]
    assert listed[0].create_time.seconds > 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault.HANG, "PROVIDER_TIMEOUT"), (Fault.UNAUTHORIZED, "PROVIDER_CREDENTIAL_REFUSED")],
)
async def test_a_vendor_that_does_not_list_says_why(fault: Fault, reason: str) -> None:
    async with (
        FakeUpstream(behaviour=Behaviour(fault=fault)) as fake,
        Upstream("openai", f"{fake.url}/v1", {}, QUICK) as upstream,
    ):
        with pytest.raises(MeshError) as raised:
            await OpenAICompatible(upstream).models()
    assert raised.value.reason == reason
