"""Vendors that continue prompts, each with the members that its documentation lists, and an HTTP server for all."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

# Members that all of them have.
COMMON = frozenset({"model", "prompt", "max_tokens", "temperature", "top_p", "stop", "stream"})
PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})
# A prompt that begins so makes the server fail.
BROKEN, LIMITED, REFUSED = "Break", "Hurry", "Refuse"
# The pieces of each answer, after the words that depend on the request.
PIECES = (" and", " so", " on.")
PROBABILITY = -0.5


@dataclass(frozen=True)
class Method:
    """A vendor's method for completions.

    Attributes:
        base: the path of the documented base URL.
        path: the path of the method; that of chats if the vendor has no other.
        models: the names of the models of its list.
        members: the members that it has beside COMMON. A request with another one is refused.
        form: `text` has OpenAI's shape of completions, `message` that of chats.
        logprobs: the form of probabilities: OpenAI's of completions, or that of chats.
        usage: whether a stream counts tokens when it is asked to, or always.
    """

    model: str
    members: frozenset[str] = frozenset()
    base: str = "/v1"
    path: str = "/completions"
    models: tuple[str, ...] = ()
    form: Literal["text", "message"] = "text"
    logprobs: Literal["legacy", "chat"] = "legacy"
    usage: Literal["asked", "always"] = "asked"

    @property
    def chats(self) -> bool:
        """Whether it has only a method for chats."""
        return self.path == "/chat/completions"


METHODS: Mapping[str, Method] = {
    "openai": Method(
        "gpt-3.5-turbo-instruct",
        PENALTIES | {"suffix", "echo", "best_of", "logit_bias", "logprobs", "n", "seed", "stream_options", "user"},
        models=("gpt-3.5-turbo-instruct", "gpt-4o-mini"),
    ),
    "vllm": Method(
        "base-model",
        PENALTIES
        | {"echo", "best_of", "logit_bias", "logprobs", "n", "seed", "stream_options", "user"}
        # Its own parameters.
        | {"top_k", "repetition_penalty", "min_p", "guided_regex"},
    ),
    "llamacpp": Method(
        "local.gguf",
        PENALTIES | {"logit_bias", "logprobs", "seed", "stream_options", "user", "top_k", "repetition_penalty"},
        logprobs="chat",
    ),
    "lmstudio": Method("studio", PENALTIES | {"seed", "logit_bias", "top_k", "repetition_penalty", "stream_options"}),
    "ollama": Method("qwen2.5-coder", PENALTIES | {"suffix", "seed", "stream_options"}),
    "fireworks": Method(
        "accounts/fireworks/models/base",
        PENALTIES | {"echo", "logprobs", "logit_bias", "seed", "top_k", "user"},
        usage="always",
        base="/inference/v1",
    ),
    "deepseek": Method(
        "deepseek-v4-pro",
        PENALTIES | {"suffix", "echo", "logprobs", "stream_options"},
        base="",
        path="/beta/completions",
    ),
    "mistral": Method(
        "codestral-latest",
        frozenset({"suffix", "random_seed", "min_tokens", "metadata"}),
        path="/fim/completions",
        form="message",
        usage="always",
    ),
    # It has no method for completions.
    "groq": Method(
        "llama-3.1-8b-instant",
        (PENALTIES | {"messages", "max_completion_tokens", "seed", "user", "logit_bias", "stream_options"})
        - {"max_tokens", "prompt"},
        base="/openai/v1",
        path="/chat/completions",
        form="message",
    ),
}


def continued(prompt: str, suffix: str = "") -> str:
    """What each vendor writes after a prompt, before the suffix."""
    return f" after <{prompt}>" + (f" before <{suffix}>" if suffix else "") + "".join(PIECES)


@dataclass
class PromptServer:
    """A vendor on a free port; `bodies` are those of its requests."""

    method: Method
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        method = self.method
        if request.method == "GET" and request.path == f"{method.base}/models":
            names = method.models or (method.model,)
            return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        if request.method != "POST" or request.path != method.base + method.path:
            return web.Response(status=404)
        body = await request.json()
        self.bodies.append(body)
        prompt = body["messages"][0]["content"] if method.chats else body["prompt"]
        allowed = COMMON | method.members
        if unknown := sorted(name for name in body if name not in allowed):
            return _refusal(400, f"Unrecognized request argument supplied: {unknown[0]}")
        if prompt.startswith(REFUSED):
            return _refusal(400, "This prompt is too long.")
        if prompt.startswith(LIMITED):
            return _refusal(429, "Slow down.", {"Retry-After": "7"})
        if not body.get("stream"):
            return web.json_response(self._whole(body, prompt))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in self._frames(body, prompt):
            await response.write(b"data: " + frame + b"\n\n")
        await response.write_eof()
        return response

    def _tokens(self, body: Mapping[str, Any], prompt: str) -> list[str]:
        head = continued(prompt, body.get("suffix") or "").removesuffix("".join(PIECES))
        return [*([prompt] if body.get("echo") else []), head, *PIECES]

    def _whole(self, body: Mapping[str, Any], prompt: str) -> dict[str, Any]:
        tokens = self._tokens(body, prompt)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if body.get("max_tokens") == 3 else "stop"}
        text = "".join(tokens)
        said = {"text": text} if self.method.form == "text" else {"message": {"role": "assistant", "content": text}}
        return {
            **self._head(body),
            "choices": [{**choice, **said, "logprobs": self._logprobs(body, tokens, 0)}],
            "usage": _usage(prompt, len(PIECES) + 1),
        }

    def _frames(self, body: Mapping[str, Any], prompt: str) -> list[bytes]:
        frames: list[dict[str, Any]] = []
        for place, token in enumerate(self._tokens(body, prompt)):
            said = {"text": token} if self.method.form == "text" else {"delta": {"content": token}}
            logprobs = self._logprobs(body, [token], place)
            frames.append({"choices": [{"index": 0, **said, "logprobs": logprobs, "finish_reason": None}]})
        if prompt.startswith(BROKEN):
            return [
                *(orjson.dumps(self._head(body) | frame) for frame in frames[:2]),
                b'{"error": {"message": "died"}}',
            ]
        empty: dict[str, Any] = {"text": ""} if self.method.form == "text" else {"delta": {}}
        reason = "length" if body.get("max_tokens") == 3 else "stop"
        frames.append({"choices": [{"index": 0, **empty, "logprobs": None, "finish_reason": reason}]})
        if self.method.usage == "always" or (body.get("stream_options") or {}).get("include_usage"):
            frames.append({"choices": [], "usage": _usage(prompt, len(PIECES) + 1)})
        return [*(orjson.dumps(self._head(body) | frame) for frame in frames), b"[DONE]"]

    def _head(self, body: Mapping[str, Any]) -> dict[str, Any]:
        kind = "text_completion" if self.method.form == "text" else "chat.completion"
        return {"id": "cmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}

    def _logprobs(self, body: Mapping[str, Any], tokens: Sequence[str], first: int) -> Any:
        count = body.get("logprobs")
        if not isinstance(count, int):
            return None
        unknown = bool(body.get("echo")) and first == 0
        if self.method.logprobs == "chat":
            top = [{"token": "other", "logprob": -2.0}] * count
            return {"content": [{"token": each, "logprob": PROBABILITY, "top_logprobs": top} for each in tokens]}
        found = [None if unknown and place == 0 else PROBABILITY for place in range(len(tokens))]
        likeliest = [None if value is None else {"other": -2.0} for value in found] if count else None
        return {"tokens": tokens, "token_logprobs": found, "top_logprobs": likeliest, "text_offset": [0] * len(tokens)}


def _usage(prompt: str, written: int) -> dict[str, int]:
    return {"prompt_tokens": len(prompt), "completion_tokens": written, "total_tokens": len(prompt) + written}


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


@asynccontextmanager
async def prompting(method: Method) -> AsyncIterator[PromptServer]:
    """Run a vendor."""
    server = PromptServer(method)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server
