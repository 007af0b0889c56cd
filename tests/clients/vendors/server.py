"""The HTTP server of a scripted vendor, which refuses what the real one refuses."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, Said


class Dialect(Protocol):
    """The protocol of a vendor."""

    @property
    def model(self) -> str:
        """The name of its model."""
        ...

    @property
    def chat(self) -> str:
        """The path of the method that answers."""
        ...

    @property
    def models(self) -> str:
        """The path of the list of models."""
        ...

    def listing(self) -> Any:
        """The list of models."""
        ...

    def refusal(self, body: Mapping[str, Any]) -> str:
        """Why the vendor refuses the body of a request; empty if it does not."""
        ...

    def error(self, message: str) -> Any:
        """The body of a refusal with status 400."""
        ...

    def thinks(self, body: Mapping[str, Any]) -> bool:
        """Whether the model thinks before it answers."""
        ...

    def shown(self, body: Mapping[str, Any]) -> Sequence[bytes]:
        """The pictures in a request."""
        ...

    def without_thoughts(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message without the thoughts in it."""
        ...

    def parsed(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message in which the arguments of calls are objects."""
        ...

    def frames(self, question: str, place: int, said: Said) -> Sequence[bytes]:
        """The events of an answer."""
        ...

    def whole(self, question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The same answer in one document."""
        ...

    def history(self, questions: Sequence[tuple[str, int]]) -> Sequence[Mapping[str, Any]]:
        """The messages that must come with a request: questions, each with the number of its answers so far.

        Each answer with calls is followed by their results.
        """
        ...


@dataclass(frozen=True)
class Report:
    """What requests had.

    Attributes:
        thoughts: "all" if a request had all thoughts that it must have, "none" if it had none of them, else "some".
            Requests that must have none do not count.
        streamed: whether the answers were streamed.
        refused: why requests were refused.
    """

    thoughts: set[str]
    streamed: set[bool]
    refused: list[str] = field(default_factory=list)


@dataclass
class VendorServer:
    """A vendor on a free port.

    Attributes:
        bodies: the bodies of the requests for answers.
        refused: why requests were refused.
        headers: those of the latest request for an answer.
    """

    dialect: Dialect
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        dialect = self.dialect
        if request.method == "GET" and request.path == dialect.models:
            return web.json_response(dialect.listing())
        if request.method == "POST" and request.path == f"{dialect.chat}/count_tokens":
            return self._counted(await request.json())
        if request.method != "POST" or request.path != dialect.chat:
            return web.Response(status=404)
        body = await request.json()
        self.headers = dict(request.headers)
        self.bodies.append(body)
        if why := dialect.refusal(body) or self._unseen(body):
            self.refused.append(why)
            return web.json_response(dialect.error(why), status=400)
        question, place = asked(body["messages"])[-1]
        said = SCRIPT[question][place]
        if not dialect.thinks(body):
            said = replace(said, thought="")
        if not body.get("stream"):
            return web.Response(
                body=orjson.dumps(dialect.whole(question, place, said)), content_type="application/json"
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in dialect.frames(question, place, said):
            await response.write(frame)
        await response.write_eof()
        return response

    def _counted(self, body: dict[str, Any]) -> web.Response:
        """The tokens of a request, which is one for an answer without its limit: a token for each message and tool."""
        why = "max_tokens: Extra inputs are not permitted" if "max_tokens" in body else ""
        if why := why or self.dialect.refusal({**body, "max_tokens": 1 << 20}):
            self.refused.append(why)
            return web.json_response(self.dialect.error(why), status=400)
        return web.json_response({"input_tokens": len(body["messages"]) + len(body.get("tools", ()))})

    def _unseen(self, body: Mapping[str, Any]) -> str:
        """What is wrong with the pictures of a request, or with its messages apart from their thoughts."""
        dialect = self.dialect
        messages = self._messages(body["messages"])
        questions = asked(messages)
        if questions[-1][0] == SHOWING:
            return "" if dialect.shown(body) == [PICTURE] else "the picture is missing, or it is another one"
        said = [dialect.without_thoughts(message) for message in messages]
        expected = [dialect.without_thoughts(message) for message in self._messages(dialect.history(questions))]
        return "" if said == expected else f"the messages are {said}, not {expected}"

    def _messages(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The messages to compare."""
        return [self.dialect.parsed(_unmarked(message)) for message in messages if message["role"] != "system"]

    def report(self) -> Report:
        """What came since the last report."""
        bodies, refused = self.bodies, self.refused
        self.bodies, self.refused = [], []
        thoughts = {found for body in bodies if (found := self._thoughts(body))}
        return Report(thoughts, {bool(body.get("stream")) for body in bodies}, refused)

    def _thoughts(self, body: Mapping[str, Any]) -> str:
        messages = self._messages(body["messages"])
        expected = self._messages(self.dialect.history(asked(messages)))
        bare = [self.dialect.without_thoughts(message) for message in expected]
        if bare == expected:
            return ""
        return "all" if messages == expected else "none" if messages == bare else "some"


def _unmarked(value: Any) -> Any:
    """A value without marks for a cache, and with parts where the content is a text: a mark makes a part of a text."""
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    plain = {name: _unmarked(each) for name, each in value.items() if name != "cache_control"}
    if isinstance(content := plain.get("content"), str):
        plain["content"] = [{"type": "text", "text": content}]
    return plain


def asked(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """The questions of the script in a request, each with the number of its answers."""
    found: list[tuple[str, int]] = []
    for message in messages:
        if message["role"] == "assistant":
            found[-1] = (found[-1][0], found[-1][1] + 1)
        if message["role"] == "user":
            found += [(text, 0) for text in _texts(message["content"]) if text in SCRIPT]
    return found


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part["type"] == "text"]


@asynccontextmanager
async def serving(dialect: Dialect) -> AsyncIterator[VendorServer]:
    """Run the vendor."""
    server = VendorServer(dialect)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server
