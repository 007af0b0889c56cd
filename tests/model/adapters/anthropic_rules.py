"""What Anthropic's Messages API refuses in a request, according to its documentation and its error messages."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BODY = {
    *("model", "messages", "max_tokens", "stream", "system", "temperature", "top_p", "top_k", "metadata", "tools"),
    *("stop_sequences", "tool_choice", "output_config", "thinking", "service_tier", "container", "cache_control"),
    *("context_management", "mcp_servers", "inference_geo", "speed", "fallbacks", "fallback_credit_token"),
    "diagnostics",
}
_CACHED = {"type", "cache_control"}
_BLOCKS: Mapping[str, set[str]] = {
    "text": _CACHED | {"text", "citations"},
    "image": _CACHED | {"source"},
    "document": _CACHED | {"source", "title", "context", "citations"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": _CACHED | {"id", "name", "input", "caller"},
    "tool_result": _CACHED | {"tool_use_id", "content", "is_error"},
    "server_tool_use": _CACHED | {"id", "name", "input", "caller"},
    "web_search_tool_result": _CACHED | {"tool_use_id", "content", "caller"},
}
_NEEDED: Mapping[str, set[str]] = {
    "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"},
    "tool_use": {"id", "name", "input"},
    "tool_result": {"tool_use_id"},
}
_SOURCES: Mapping[str, set[str]] = {
    "base64": {"type", "media_type", "data"},
    "url": {"type", "url"},
    "file": {"type", "file_id"},
    "text": {"type", "media_type", "data"},
}
_TOOL = {"name", "description", "input_schema", "strict", "cache_control", "type", "defer_loading", "input_examples"}
_TOOL |= {"allowed_callers", "eager_input_streaming"}
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_THOUGHTS = ("thinking", "redacted_thinking")


class Rules:
    """The checks of a server that has signed these thoughts."""

    def __init__(self) -> None:
        self.signed: dict[str, str] = {}

    def refusal(self, body: Mapping[str, Any]) -> str:
        """The message of the refusal; empty if the server accepts the body."""
        return next(self._faults(body), "")

    def _faults(self, body: Mapping[str, Any]) -> Iterator[str]:
        yield from (f"{name}: Extra inputs are not permitted" for name in body if name not in _BODY)
        if body.get("max_tokens", 0) < 1:
            yield "max_tokens: Field required"
        if not 0 <= body.get("temperature", 1) <= 1:
            yield "temperature: range: 0..1"
        if any(not stop.strip() for stop in body.get("stop_sequences", ())):
            yield "stop_sequences: each stop sequence must contain non-whitespace"
        yield from self._thinking(body)
        yield from self._system(body.get("system"))
        yield from self._tools(body)
        yield from self._messages(body["messages"], (body.get("thinking") or {}).get("type") == "enabled")

    def _thinking(self, body: Mapping[str, Any]) -> Iterator[str]:
        thinking = body.get("thinking") or {"type": "disabled"}
        if thinking["type"] in ("disabled", "between_tools"):
            return
        if thinking["type"] == "enabled":
            if thinking["budget_tokens"] < 1024:
                yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            if thinking["budget_tokens"] >= body["max_tokens"]:
                yield "`max_tokens` must be greater than `thinking.budget_tokens`"
        if body.get("temperature", 1) != 1:
            yield "`temperature` may only be set to 1 when thinking is enabled"
        if "top_k" in body:
            yield "`top_k` must be unset when thinking is enabled"
        if body.get("top_p", 1) < 0.95:
            yield "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled"
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            yield "Thinking may not be enabled when tool_choice forces tool use."

    def _system(self, system: Any) -> Iterator[str]:
        if system is None:
            return
        blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
        if not blocks:
            yield "system: List should have at least 1 item"
        for at, block in enumerate(blocks):
            if block["type"] != "text":
                yield f"system.{at}.type: Input should be 'text'"
            yield from self._block(f"system.{at}", block)

    def _tools(self, body: Mapping[str, Any]) -> Iterator[str]:
        if "tool_choice" in body and not body.get("tools"):
            yield "tool_choice may only be specified while providing tools"
        for at, tool in enumerate(body.get("tools", ())):
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]):
                yield f"tools.{at}.custom.name: String should match pattern"
            if tool.get("type", "custom") != "custom":
                continue
            yield from (
                f"tools.{at}.custom.{name}: Extra inputs are not permitted" for name in tool if name not in _TOOL
            )
            if tool["input_schema"].get("type") != "object":
                yield f"tools.{at}.custom.input_schema.type: Field required"

    def _messages(self, messages: Sequence[Mapping[str, Any]], thinks: bool) -> Iterator[str]:
        if not messages:
            yield "messages: at least one message is required"
            return
        if messages[0]["role"] != "user":
            yield 'messages: first message must use the "user" role'
        for at, message in enumerate(messages):
            where, content = f"messages.{at}", message["content"]
            if set(message) != {"role", "content"}:
                yield f"{where}: Extra inputs are not permitted"
            if at and messages[at - 1]["role"] == message["role"]:
                yield f"{where}: roles must alternate"
            if not content:
                yield f"{where}: all messages must have non-empty content"
                continue
            for place, block in enumerate(content):
                yield from self._block(f"{where}.content.{place}", block)
                yield from self._role(f"{where}.content.{place}", block["type"], message["role"])
            if message["role"] == "assistant":
                yield from self._assistant(where, content)
            yield from self._paired(where, messages[at - 1]["content"] if at else [], content)
        last = messages[-1]["content"]
        if messages[-1]["role"] == "assistant":
            if any(block["type"] == "tool_use" for block in last):
                yield f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` blocks"
            if last[-1].get("text", "x")[-1:].isspace():
                yield "messages: final assistant content cannot end with trailing whitespace"
            if thinks and last[0]["type"] not in _THOUGHTS:
                yield "messages: Expected `thinking` or `redacted_thinking` in the final assistant message"
        elif thinks and last[0]["type"] == "tool_result" and messages[-2]["content"][0]["type"] not in _THOUGHTS:
            found = messages[-2]["content"][0]["type"]
            yield (
                f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, "
                f"but found `{found}`"
            )

    def _role(self, where: str, kind: str, role: str) -> Iterator[str]:
        only = {
            "assistant": ("thinking", "redacted_thinking", "tool_use"),
            "user": ("image", "document", "tool_result"),
        }
        for owner, kinds in only.items():
            if kind in kinds and role != owner:
                yield f"{where}: `{kind}` blocks can only be in `{owner}` messages"

    def _assistant(self, where: str, content: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        kinds = [block["type"] for block in content]
        if kinds[-1] in _THOUGHTS:
            yield f"{where}: The final block in an assistant message cannot be `thinking`."

    def _paired(
        self, where: str, before: Sequence[Mapping[str, Any]], content: Sequence[Mapping[str, Any]]
    ) -> Iterator[str]:
        calls = [block["id"] for block in before if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        if len(set(calls)) != len(calls):
            yield f"{where}: `tool_use` ids must be unique"
        if sorted(calls) != sorted(results):
            yield f"{where}: unexpected or missing `tool_result` blocks: {sorted(set(calls) ^ set(results))}"
        if results and any(block["type"] != "tool_result" for block in content[: len(results)]):
            yield f"{where}: `tool_result` blocks must come first"

    def _block(self, where: str, block: Mapping[str, Any]) -> Iterator[str]:
        kind = block["type"]
        if kind not in _BLOCKS:
            yield f"{where}.type: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            return
        yield from (f"{where}.{name}: Extra inputs are not permitted" for name in block if name not in _BLOCKS[kind])
        yield from (f"{where}.{kind}.{name}: Field required" for name in _NEEDED.get(kind, set()) - set(block))
        mark = block.get("cache_control")
        if mark is not None and not (mark.get("type") == "ephemeral" and mark.get("ttl", "5m") in ("5m", "1h")):
            yield f"{where}.cache_control: Input tag does not match 'ephemeral'"
        match kind:
            case "text" if not block["text"].strip():
                yield f"{where}: text content blocks must contain non-whitespace text"
            case "thinking" if self.signed.get(block["signature"]) != block["thinking"]:
                yield f"{where}: Invalid `signature` in `thinking` block"
            case "redacted_thinking" if block["data"] not in self.signed:
                yield f"{where}: Invalid `data` in `redacted_thinking` block"
            case "tool_use" if (
                not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", block["id"]) or type(block["input"]) is not dict
            ):
                yield f"{where}.tool_use: the id or the input has another shape"
            case "tool_result" if not isinstance(content := block.get("content", ""), str):
                for place, inner in enumerate(content):
                    if inner["type"] not in ("text", "image", "document"):
                        yield f"{where}.content.{place}: this type cannot be in a tool result"
                    yield from self._block(f"{where}.content.{place}", inner)
            case "image" | "document":
                yield from self._source(where, kind, block["source"])

    def _source(self, where: str, kind: str, source: Mapping[str, Any]) -> Iterator[str]:
        if set(source) != _SOURCES.get(source["type"]):
            yield f"{where}.source: has another shape"
        if source["type"] == "base64" and source["media_type"] not in (
            _IMAGES if kind == "image" else {"application/pdf"}
        ):
            yield f"{where}.source.base64.media_type: {source['media_type']} is not supported"
        if source["type"] == "text" and (kind == "image" or source["media_type"] != "text/plain"):
            yield f"{where}.source: is no text of a document"
