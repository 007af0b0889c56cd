"""The models of the catalogue are listed as in OpenAI's API."""

import openai as sdk
import pytest
from openai import AsyncOpenAI

from services.mesh.call.errors import Unavailable
from tests.gateway.edge.conftest import Stand

LAB = {"id": "lab/small", "object": "model", "created": 1_700_000_000, "owned_by": "the lab"}
PLAIN = {"id": "plain", "object": "model", "created": 0, "owned_by": "local"}


async def test_every_model_is_listed_in_the_catalogues_order(openai: AsyncOpenAI) -> None:
    listed = await openai.models.list()
    assert listed.object == "list"
    assert [each.model_dump(exclude_unset=True) for each in listed.data] == [LAB, PLAIN]


async def test_a_model_is_found_by_its_name_which_may_have_slashes(openai: AsyncOpenAI) -> None:
    assert (await openai.models.retrieve("lab/small")).model_dump(exclude_unset=True) == LAB
    assert (await openai.models.retrieve("plain")).model_dump(exclude_unset=True) == PLAIN


async def test_an_unknown_model_is_model_not_found(openai: AsyncOpenAI) -> None:
    with pytest.raises(sdk.NotFoundError) as caught:
        await openai.models.retrieve("none")
    assert caught.value.body == {
        "message": "The model 'none' does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_an_unavailable_catalogue_is_503(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.catalog.failure = Unavailable("away")
    with pytest.raises(sdk.InternalServerError) as caught:
        await openai.models.list()
    assert caught.value.status_code == 503
