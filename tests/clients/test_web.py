"""grpc-web: both of its wire formats, and the generated TypeScript client in a page of a real browser."""

import base64
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from google.rpc.status_pb2 import Status
from soma.testing.v1 import echo_service_pb2 as pb

from services.mesh.call.status import from_status
from services.mesh.testing.waiting import until
from tests.clients.browser import CHROMIUM, Page, chromium
from tests.clients.calls import ECHO
from tests.clients.site import ROOT, site
from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.e2e.stack import Stack

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
TRAILERS = 0x80
CONVERSATION = (("My cat is called Ada.", "Noted"), ("What is my cat called?", "“My cat is called Ada.”"))


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of an answer: flag and content."""
    while body:
        size = int.from_bytes(body[1:5], "big")
        yield body[0], body[5 : 5 + size]
        body = body[5 + size :]


def decoded(content_type: str, body: bytes) -> bytes:
    """The bytes of the frames.

    In the text format, the body is a sequence of base64 texts, each with its own padding.
    """
    if content_type == BINARY:
        return body
    whole = b""
    for end in range(4, len(body) + 1, 4):
        whole += base64.b64decode(body[end - 4 : end], validate=True)
    return whole


async def post(stack: Stack, method: str, content_type: str, message: bytes) -> tuple[list[bytes], dict[str, str]]:
    """Call a method of EchoService; return the messages of the answer, and the trailers."""
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    headers = {"authorization": f"Bearer {stack.key}", "content-type": content_type, "x-grpc-web": "1"}
    async with stack.http(**headers, accept=content_type) as http:
        content = frame if content_type == BINARY else base64.b64encode(frame)
        answer = await http.post(f"/{ECHO}/{method}", content=content)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type
    received = list(frames(decoded(content_type, answer.content)))
    last = [held for flag, held in received if flag & TRAILERS]
    lines = (line.split(":", 1) for line in b"".join(last).decode().splitlines())
    trailers = {key.strip(): value.strip() for key, value in lines}
    return [held for flag, held in received if not flag & TRAILERS], {**answer.headers, **trailers}


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
async def test_a_unary_call_is_answered_in_the_format_it_came_in(echo: Stack, content_type: str) -> None:
    asked = pb.EchoRequest(text="web").SerializeToString()
    messages, trailers = await post(echo, "Echo", content_type, asked)
    assert [pb.EchoResponse.FromString(message).text for message in messages] == ["web"]
    assert trailers["grpc-status"] == "0"


@pytest.mark.parametrize("content_type", [BINARY, TEXT])
async def test_a_stream_that_fails_ends_with_the_reason(echo: Stack, content_type: str) -> None:
    script = pb.Script(count=3, fail_after=2, fail_code=grpc.StatusCode.ABORTED.value[0], fail_message="as told")
    asked = pb.StreamEchoRequest(text="web", script=script).SerializeToString()
    messages, trailers = await post(echo, "StreamEcho", content_type, asked)
    assert [pb.StreamEchoResponse.FromString(message).sequence for message in messages] == [0, 1]
    assert (trailers["grpc-status"], trailers["grpc-message"]) == ("10", "as told")
    details = trailers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    assert from_status(status).reason == "ABORTED"


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """A tab of a browser; the example's page is built before."""
    require("npm", CHROMIUM)
    await built(ROOT, *NPM_BUILD)
    async with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


async def connect(page: Page, stack: Stack, key: str) -> str:
    """Let the page list the models; return their names, or the page's error."""
    await page.fill("url", stack.url)
    await page.fill("key", key)
    await page.submit("connection")
    shown = "document.getElementById('error').textContent || document.getElementById('model').innerText"

    async def answered() -> bool:
        return bool(await page.evaluate(shown))

    await until(answered)
    return str(await page.evaluate(shown))


@pytest.mark.timeout(BUILD_SECONDS)
async def test_a_page_of_an_allowed_origin_calls_and_streams(stack: Stack, origin: str, page: Page) -> None:
    await page.open(f"{origin}/index.html")
    assert "soma-extract-v1" in (await connect(page, stack, stack.key)).split()
    for turn, (text, expected) in enumerate(CONVERSATION):
        await page.fill("text", text)
        await page.submit("turn")
        answer = f"document.querySelectorAll('#transcript p')[{2 * turn + 1}]"

        async def finished(answer: str = answer) -> bool:
            return bool(await page.evaluate(f"{answer}?.dataset.tokens > 0"))

        await until(finished)
        assert expected in await page.evaluate(f"{answer}.textContent")
    assert await page.evaluate("document.getElementById('error').textContent") == ""


@pytest.mark.timeout(BUILD_SECONDS)
async def test_a_page_of_an_allowed_origin_reads_why_it_is_refused(stack: Stack, origin: str, page: Page) -> None:
    await page.open(f"{origin}/index.html")
    assert await connect(page, stack, "soma_dev_guess") == "[unauthenticated] the API key or token is not valid"


@pytest.mark.timeout(BUILD_SECONDS)
async def test_a_page_of_another_origin_cannot_read_answers(stack: Stack, page: Page) -> None:
    async with site() as other:
        await page.open(f"{other}/index.html")
        assert await connect(page, stack, stack.key) == "[unknown] Failed to fetch"
