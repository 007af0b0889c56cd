"""Weights come from the first source, else from the other one; the hub is a fake server with the hub's protocol."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from services.mesh.call.errors import FailedPrecondition
from services.model.embedding.architecture import HUB_REPOSITORY
from services.model.embedding.weights import WeightsMissing, find_weights, hub_weights, packaged_weights

FILES = {"model.safetensors": b"tensors", "tokenizer.json": b"{}"}
COMMIT = "a" * 40
NOT_INSTALLED = "no_such_package"


@pytest.fixture
async def hub() -> AsyncIterator[TestServer]:
    async def resolve(request: web.Request) -> web.Response:
        body = FILES[request.match_info["file"]]
        etag = hashlib.sha256(body).hexdigest()
        return web.Response(body=body, headers={"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    application = web.Application()
    application.router.add_get(f"/{HUB_REPOSITORY}/resolve/main/{{file}}", resolve)
    server = TestServer(application)
    await server.start_server()
    yield server
    await server.close()


def _closed_port() -> str:
    return f"http://127.0.0.1:{unused_port()}"


async def test_a_hub_that_answers_gives_its_files(hub: TestServer, tmp_path: Path) -> None:
    found = await asyncio.to_thread(find_weights, "hub", tmp_path, str(hub.make_url("")).rstrip("/"))
    assert found.tensors.read_bytes() == b"tensors"
    assert found.tokenizer.read_bytes() == b"{}"


async def test_the_copy_of_earlier_files_is_used_while_the_hub_is_away(hub: TestServer, tmp_path: Path) -> None:
    endpoint = str(hub.make_url("")).rstrip("/")
    before = await asyncio.to_thread(hub_weights, tmp_path, endpoint)
    await hub.close()
    assert await asyncio.to_thread(hub_weights, tmp_path, endpoint) == before


def test_packaged_weights_are_used_if_the_hub_does_not_answer(tmp_path: Path) -> None:
    assert find_weights("hub", tmp_path, _closed_port()) == packaged_weights()


async def test_the_hub_is_used_if_the_package_is_not_installed(hub: TestServer, tmp_path: Path) -> None:
    endpoint = str(hub.make_url("")).rstrip("/")
    found = await asyncio.to_thread(find_weights, "packaged", tmp_path, endpoint, NOT_INSTALLED)
    assert found.tensors.read_bytes() == b"tensors"


async def test_a_hub_that_accepts_but_does_not_answer_is_given_up_within_seconds(tmp_path: Path) -> None:
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(10):
        found = await asyncio.to_thread(find_weights, "hub", tmp_path, endpoint)
    assert found == packaged_weights()
    assert held
    for writer in held:
        writer.close()
    silent.close()


def test_packaged_weights_never_ask_the_hub(tmp_path: Path) -> None:
    assert find_weights("packaged", tmp_path, "not even an address") == packaged_weights()


def test_without_hub_and_package_the_error_names_both(tmp_path: Path) -> None:
    endpoint = _closed_port()
    with pytest.raises(FailedPrecondition) as refused:
        find_weights("hub", tmp_path, endpoint, NOT_INSTALLED)
    assert refused.value.reason == "WEIGHTS_MISSING"
    assert NOT_INSTALLED in refused.value.message
    assert endpoint in refused.value.message


async def test_a_repository_the_hub_does_not_know_is_missing_weights(hub: TestServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        await asyncio.to_thread(hub_weights, tmp_path, str(hub.make_url("/elsewhere")))
