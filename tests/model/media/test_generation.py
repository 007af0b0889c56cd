"""Pictures in requests to the model service, as its process builds it, with a vendor and a web server."""

import binascii
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from soma.model.v1.message_pb2 import ROLE_USER, Media, Message, Part
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving
from tests.model.media import web as pages
from tests.model.media.samples import JPEG, PNG
from tests.model.media.web import ok

pytestmark = pytest.mark.usefixtures("nothing_left")

DATA_URL = f"data:image/png;base64,{binascii.b2a_base64(PNG, newline=False).decode()}"


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Models]:
    monkeypatch.setenv("SOMA_MEDIA_TRUSTED_HOSTS", '["127.0.0.1"]')
    async with serving([fake]) as models:
        yield models


def asking(**media: Any) -> GenerateRequest:
    """A question about one picture."""
    message = Message(role=ROLE_USER, content="What is it?", parts=[Part(image=Media(**media))])
    return GenerateRequest(model="fake-large", messages=[message])


async def ask(models: Models, request: GenerateRequest) -> str:
    """The text of the answer."""
    with run_as(SOMEBODY):
        return "".join([event.delta.text async for event in models.model.Generate(request)])


async def refused(models: Models, request: GenerateRequest) -> str:
    """The reason of the error."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await ask(models, request)
    return from_rpc_error(error.value).reason


async def test_a_vendor_in_ones_own_network_gets_the_bytes_of_a_url(models: Models, fake: FakeUpstream) -> None:
    async with pages.serving(a=ok(PNG, "image/png")) as web:
        assert await ask(models, asking(url=web.url("/a"))) == "Hello there!"
    (body,) = fake.requests
    assert body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": DATA_URL}}
    await models.usage()


async def test_a_private_address_is_refused_before_the_vendor_is_asked(models: Models, fake: FakeUpstream) -> None:
    for url in ("http://10.0.0.1/a", "http://localhost/a", "http://[::1]/a", "http://169.254.169.254/latest"):
        assert await refused(models, asking(url=url)) == "MEDIA_UNREACHABLE"
    assert fake.requests == []


async def test_what_is_wrong_with_a_picture_is_the_reason_of_the_call(models: Models, fake: FakeUpstream) -> None:
    assert await refused(models, asking(data=JPEG, media_type="image/png")) == "MEDIA_INVALID"
    assert await refused(models, asking(hash="0" * 64, media_type="image/png")) == "MEDIA_NOT_FOUND"
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    async with pages.serving(a=redirect) as web:
        assert await refused(models, asking(url=web.url("/a"))) == "MEDIA_UNREACHABLE"
    assert fake.requests == []
