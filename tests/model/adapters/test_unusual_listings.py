"""Lists of models with invalid entries: such an entry or provider does not affect the others."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from soma.model.v1.catalog_service_pb2 import Model

from services.mesh.call.errors import MeshError
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Advice, Patience, Upstream
from services.model.provider import Provider
from services.model.testing.dialects import AnthropicDialect, Dialect, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model import vendors

DIALECTS = pytest.mark.parametrize("dialect", [OpenAIDialect(), AnthropicDialect()])


async def listed(dialect: Dialect, listing: Any, **headers: str) -> list[Model]:
    async with FakeUpstream(dialect, listing=listing) as fake:
        anthropic = isinstance(dialect, AnthropicDialect)
        url, advice = fake.url if anthropic else f"{fake.url}/v1", Advice(key="check THE_KEY")
        async with Upstream("lab", url, headers, Patience(), advice) as upstream:
            provider: Provider = (
                Anthropic(upstream, vendors.ANTHROPIC) if anthropic else OpenAICompatible(upstream, vendors.COMPATIBLE)
            )
            return list(await provider.models())


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000_000, 1_700_000_000),
        (1_700_000_000_000_000, 1_700_000_000),
        (1_700_000_000.5, 1_700_000_000),
        ("1700000000", 1_700_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000),
        ("yesterday", 0),
        (-5, 0),
        (10**300, 0),
        (True, 0),
        ([], 0),
        (None, 0),
    ],
)
@DIALECTS
async def test_a_date_of_any_kind_is_read_or_left_out(dialect: Dialect, made: Any, seconds: int) -> None:
    (model,) = await listed(dialect, {"data": [{"id": "m", "created": made, "created_at": made}]})
    assert model.create_time.seconds == seconds
    assert MessageToJson(model)


@DIALECTS
async def test_an_invalid_entry_hides_no_other(dialect: Dialect) -> None:
    odd: list[Any] = [{}, None, 3, {"id": None}, {"id": {}}, {"id": "n", "owned_by": {}, "max_model_len": "long"}]
    found = await listed(dialect, {"data": [{"id": "first"}, *odd, {"id": "last"}]})
    assert [model.name for model in found] == ["first", "n", "last"]


@pytest.mark.parametrize("listing", [[{"id": "m"}], {"models": [{"name": "m"}]}, {"data": ["m"]}])
@DIALECTS
async def test_a_list_in_any_usual_shape_is_read(dialect: Dialect, listing: Any) -> None:
    assert [model.name for model in await listed(dialect, listing)] == ["m"]


@DIALECTS
async def test_a_document_that_is_not_a_list_is_reported(dialect: Dialect) -> None:
    with pytest.raises(MeshError) as raised:
        await listed(dialect, {"data": {"id": "m"}})
    assert raised.value.reason == "PROVIDER_PROTOCOL_ERROR"


@DIALECTS
async def test_a_key_that_no_header_can_carry_is_named_by_its_place(dialect: Dialect) -> None:
    with pytest.raises(MeshError, match="check THE_KEY") as raised:
        await listed(dialect, None, Authorization="Bearer €")
    assert raised.value.reason == "PROVIDER_CREDENTIAL_REFUSED"
