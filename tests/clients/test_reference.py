"""`/docs` and `/redoc` in a real browser: calls can be tried with a key, and no other host is contacted."""

from collections.abc import AsyncIterator

import pytest

from tests.clients.browser import CHROMIUM, Page, chromium
from tests.clients.toolchains import require
from tests.e2e.stack import Stack

# Swagger UI shows a stream after it was silent for ten seconds.
STREAM_SECONDS = 30.0
STORED = "[localStorage.length, sessionStorage.length, document.cookie]"


@pytest.fixture
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """A tab of a new browser."""
    require(CHROMIUM)
    async with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        await opened.watch()
        yield opened


async def authorize(page: Page, scheme: str, key: str) -> None:
    """Open the dialog of `/docs`, and enter the key."""
    await page.click(".auth-wrapper .authorize")
    await page.enter(f"#{scheme}", key)
    await page.click(f".auth-container:has(#{scheme}) .authorize")
    await page.click(".btn-done")


async def unfold(page: Page, verb: str, path: str) -> str:
    """Open an operation in order to try it; return its selector."""
    block = f'.opblock-{verb}:has([data-path="{path}"])'
    await page.click(f"{block} .opblock-summary-control")
    await page.click(f"{block} .try-out__btn")
    return block


async def execute(page: Page, block: str, seconds: float = 15.0) -> tuple[str, str]:
    """Try the operation; return the status of the answer, and the body that the page shows."""
    await page.click(f"{block} .execute")
    answer = f"document.querySelector('{block} .live-responses-table .response')"
    await page.wait_for(answer, seconds)
    status = await page.evaluate(f"{answer}.querySelector('.response-col_status').innerText")
    return str(status).split()[0], str(await page.evaluate(f"{answer}.innerText"))


def foreign(page: Page, stack: Stack) -> list[str]:
    """The requests to other hosts."""
    return [url for url in page.requested if not url.startswith((f"{stack.url}/", "data:", f"blob:{stack.url}/"))]


@pytest.mark.parametrize("scheme", ["auth-bearer-value", "api_key_value"])
async def test_a_call_is_tried_with_the_key_that_was_given(stack: Stack, page: Page, scheme: str) -> None:
    await page.open(f"{stack.url}/docs")
    block = await unfold(page, "get", "/v1/models")
    status, body = await execute(page, block)
    assert (status, "invalid_api_key" in body) == ("401", True)
    await authorize(page, scheme, stack.key)
    await page.click(f"{block} .btn-clear")
    status, body = await execute(page, block)
    assert (status, "soma-extract-v1" in body) == ("200", True)
    assert foreign(page, stack) == []
    assert [error for error in page.errors if "401" not in error] == []
    # The page stores the key only until it is closed.
    assert await page.evaluate(STORED) == [0, 0, ""]


async def test_an_event_stream_that_ends_is_shown_whole(stack: Stack, page: Page) -> None:
    await page.open(f"{stack.url}/docs")
    await authorize(page, "auth-bearer-value", stack.key)
    block = await unfold(page, "post", "/v1/chat")
    status, body = await execute(page, block)
    assert (status, '"finished"' in body) == ("200", True)
    assert "reads no further" not in body


async def test_an_endless_event_stream_is_shown_as_far_as_it_was_read(stack: Stack, page: Page) -> None:
    await page.open(f"{stack.url}/docs")
    await authorize(page, "auth-bearer-value", stack.key)
    block = await unfold(page, "get", "/api/v1/logs/stream/{task_id}")
    await page.enter(f"{block} [data-param-name=task_id] input", "reference")
    status, body = await execute(page, block, STREAM_SECONDS)
    assert (status, '"started"' in body, "reads no further" in body) == ("200", True, True)


async def test_redoc_shows_the_same_document(stack: Stack, page: Page) -> None:
    await page.open(f"{stack.url}/redoc")
    await page.wait_for("document.querySelector('[id=\"operation/listModels\"]')")
    shown = await page.evaluate("document.querySelector('[id=\"operation/listModels\"]').innerText")
    assert "List models" in shown
    assert "/v1/models" in shown
    # Its style sheets are loaded.
    background = "getComputedStyle(document.querySelector('.menu-content')).backgroundColor"
    assert await page.evaluate(background) == "rgb(250, 250, 250)"
    assert foreign(page, stack) == []
    # The logo of its maker is on another host, and the page does not load it.
    assert [error for error in page.errors if "logo-mini.svg" not in error] == []
    assert await page.evaluate(STORED) == [0, 0, ""]
