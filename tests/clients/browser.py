"""A headless Chromium, controlled over the part of its DevTools protocol that these tests need."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from services.mesh.testing.waiting import until

CHROMIUM = "chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # No other host name is resolved, so that the browser calls only this machine.
    *("--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
START_SECONDS = 60.0


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)
        self._events: list[dict[str, Any]] = []

    async def watch(self) -> None:
        """Begin to record every request, and every error on the page's console."""
        self._events.clear()
        for domain in ("Network", "Log", "Runtime"):
            await self._command(f"{domain}.enable")

    @property
    def requested(self) -> list[str]:
        """The URLs of the requests since `watch` that the page's own policy did not block."""
        held_back = {
            event["params"]["requestId"]
            for event in self._events
            if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
        }
        return [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent" and event["params"]["requestId"] not in held_back
        ]

    @property
    def errors(self) -> list[str]:
        """The errors on the page's console since `watch`, including those of its policy."""
        said = [event["params"]["entry"] for event in self._events if event["method"] == "Log.entryAdded"]
        thrown = [event["params"] for event in self._events if event["method"] == "Runtime.exceptionThrown"]
        return [entry["text"] for entry in said if entry["level"] == "error"] + [str(each) for each in thrown]

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it has loaded."""
        await self._command("Page.navigate", url=url)

        async def loaded() -> bool:
            now = await self.evaluate("[document.readyState, location.href]")
            return bool(now == ["complete", url])

        await until(loaded)

    async def fill(self, element: str, value: str) -> None:
        """Put a value into a field."""
        await self.evaluate(f"document.getElementById({json.dumps(element)}).value = {json.dumps(value)}")

    async def submit(self, form: str) -> None:
        """Press a form's button."""
        await self.evaluate(f"document.getElementById({json.dumps(form)}).requestSubmit()")

    async def click(self, selector: str) -> None:
        """Press the first element of a CSS selector when it exists and is enabled."""
        element = f"document.querySelector({json.dumps(selector)})"
        await self.wait_for(f"{element} && !{element}.disabled")
        await self.evaluate(f"{element}.click()")

    async def enter(self, selector: str, value: str) -> None:
        """Replace the value of the first field of a CSS selector when it exists, and leave the field."""
        field = f"document.querySelector({json.dumps(selector)})"
        await self.wait_for(field)
        await self.evaluate(f"{field}.focus(), {field}.select()")
        await self._command("Input.insertText", text=value)
        await self.evaluate(f"{field}.blur()")

    async def wait_for(self, condition: str, seconds: float = 15.0) -> None:
        """Wait until a JavaScript expression is true in the page."""

        async def holds() -> bool:
            return bool(await self.evaluate(f"Boolean({condition})"))

        await until(holds, condition, seconds=seconds)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self._command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer: dict[str, Any] = await self._socket.receive_json()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """A browser with a new profile and one tab."""
    with (profile / "chromium.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        announced = profile / "DevToolsActivePort"

        async def listening() -> bool:
            assert process.returncode is None, (profile / "chromium.log").read_text()
            return announced.exists() and len(announced.read_text().splitlines()) == 2

        await until(listening, seconds=START_SECONDS)
        port = announced.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
                (tab,) = [target for target in await listed.json() if target["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"]) as socket:
                yield Page(socket)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
