"""The pages of the reference: all files that they load come from the control process."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import reference
from gateway.pages import Pages
from gateway.reference import DOCUMENT, PAGES

POLICY = "content-security-policy"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway's pages, for requests to the reference."""
    nothing: Any = None
    transport = httpx.ASGITransport(Pages(nothing, (), nothing, nothing, "").app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
async def test_the_files_of_a_page_are_served_under_it_and_it_has_no_inline_script(
    http: httpx.AsyncClient, path: str
) -> None:
    page = await http.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'<(script|link)[^>]* (?:src|href)="([^"]+)"', page.text)
    kinds = {"script": "text/javascript", "link": "text/css"}
    files = [(kind, url) for kind, url in loaded if url != "data:,"]
    assert {kind for kind, _ in files} == set(kinds)
    for kind, url in files:
        assert url.startswith(f"{path}/")
        file = await http.get(url)
        assert (file.status_code, file.headers["content-type"].partition(";")[0]) == (200, kinds[kind])
        assert len(file.content) > 0
    assert re.findall(r"<script[^>]*>([^<]+)", page.text) == []


@pytest.mark.parametrize("path", [*PAGES, DOCUMENT, *(f"{page}/page.js" for page in PAGES)])
async def test_a_page_may_load_from_the_gateway_only_and_sends_no_referrer(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers[POLICY].split(";"))
    assert policy["default-src"] == "'none'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    hashes = {source for source in allowed if source.startswith("'sha256-")}
    assert allowed - hashes == {"'none'", "'self'", "data:", "blob:"}
    assert hashes == {source for source in policy["style-src"].split() if source != "'self'"}
    assert (policy["script-src"], policy["connect-src"]) == ("'self'", "'self'")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", [*PAGES, DOCUMENT, "/docs/swagger-ui-bundle.js", "/redoc/redoc.standalone.js"])
async def test_a_file_that_a_browser_has_is_not_sent_again(http: httpx.AsyncClient, path: str) -> None:
    first = await http.get(path)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    # Envoy's compressor would remove a strong tag.
    assert tag.startswith('W/"')
    for known, status in ((tag, 304), (f'"other", {tag}', 304), ('"other"', 200)):
        again = await http.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.headers["etag"]) == (status, tag)
        assert bool(again.content) == (status == 200)


@pytest.mark.parametrize("path", PAGES)
async def test_a_path_with_an_extra_slash_redirects_to_the_page_without_a_host_name(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.get(f"{path}/")
    assert (answer.status_code, answer.headers["location"]) == (308, path)


@pytest.mark.parametrize("path", [*PAGES, DOCUMENT, "/redoc/redoc.standalone.js"])
async def test_a_file_that_is_not_installed_is_an_error_in_the_usual_shape(
    http: httpx.AsyncClient, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "_FILES", dict.fromkeys(reference._FILES, tmp_path / "gone.html"))
    answer = await http.get(path)
    error = answer.json()["error"]
    assert (answer.status_code, error["status"], error["details"][0]["reason"]) == (500, "INTERNAL", "FILE_UNREADABLE")
    assert "gone.html" in error["message"]
    assert str(tmp_path) not in answer.text
