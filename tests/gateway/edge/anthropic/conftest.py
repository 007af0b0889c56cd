"""Fixtures: a client that sends what Anthropic's clients send."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.edge.conftest import KEY, Stand

VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def http(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client with the key and the version of the API."""
    async with httpx.AsyncClient(base_url=stand.url, headers={"x-api-key": KEY, **VERSION}) as client:
        yield client
