"""The shapes of a response and its items (OpenAI's API reference, "The response object")."""

from collections.abc import Iterable
from typing import Any

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_LENGTH,
    PHASE_COMMENTARY,
    PHASE_FINAL_ANSWER,
    Citation,
    Phase,
    Reasoning,
    Usage,
)
from soma.model.v1.options_pb2 import ResponseFormat, ToolChoice
from soma.orchestrator.v1.response_service_pb2 import Response, ResponseItem

from gateway.edge.openai.completion import annotation, extra_content, logprob_objects
from gateway.edge.openai.encrypted import closed
from gateway.edge.openai.extension import Findings
from gateway.edge.openai.tools import MODES
from gateway.edge.provider_params import members_of

STATUSES: dict[int, str] = {
    Response.STATE_IN_PROGRESS: "in_progress",
    Response.STATE_COMPLETED: "completed",
    Response.STATE_INCOMPLETE: "incomplete",
    Response.STATE_FAILED: "failed",
    Response.STATE_CANCELLED: "cancelled",
}
CHOICES = {mode: name for name, mode in MODES.items()}
PHASES = {PHASE_COMMENTARY: "commentary", PHASE_FINAL_ANSWER: "final_answer"}
# OpenAI's codes for errors in a response; every other error is a server error.
ERROR_CODES = {8: "rate_limit_exceeded", 3: "invalid_prompt"}


def response_object(response: Response, findings: Findings | None = None, *, encrypted: bool = False) -> dict[str, Any]:
    """The `response` object; with `findings`, its field `soma` has the content that the client asked for.

    With `encrypted`, thoughts have their `encrypted_content`. A setting that the client left out has OpenAI's default.
    """
    settings, options = response.settings, response.settings.options
    sampling, others = options.sampling, members_of(options.provider_params)
    members: dict[str, Any] = {
        "id": response.response_id,
        "object": "response",
        "created_at": response.create_time.seconds,
        "status": STATUSES[response.state],
        "background": settings.background,
        "completed_at": response.end_time.seconds if response.state == Response.STATE_COMPLETED else None,
        "conversation": {"id": settings.conversation_id} if settings.conversation_id else None,
        "error": None,
        "frequency_penalty": _decimal(sampling.frequency_penalty),
        "incomplete_details": None,
        "instructions": settings.instructions or None,
        "max_output_tokens": sampling.max_tokens if sampling.HasField("max_tokens") else None,
        "max_tool_calls": settings.max_tool_calls if settings.HasField("max_tool_calls") else None,
        "metadata": dict(settings.metadata),
        "model": response.model,
        "output": [item_object(item, status_of(item), encrypted=encrypted) for item in response.output],
        "parallel_tool_calls": options.parallel_tool_calls if options.HasField("parallel_tool_calls") else True,
        "presence_penalty": _decimal(sampling.presence_penalty),
        "previous_response_id": settings.previous_response_id or None,
        "prompt_cache_key": settings.prompt_cache_key or None,
        "reasoning": {"effort": options.reasoning.effort or None, "summary": settings.reasoning_summary or None},
        "safety_identifier": settings.safety_identifier or None,
        "service_tier": others.get("service_tier", "default"),
        "store": settings.store if settings.HasField("store") else True,
        "temperature": _decimal(sampling.temperature) if sampling.HasField("temperature") else 1.0,
        "text": {"format": _format(options.response_format), "verbosity": others.get("verbosity", "medium")},
        "tool_choice": _choice(options.tool_choice),
        "tools": [_tool(tool) for tool in options.tools],
        "top_logprobs": sampling.top_logprobs,
        "top_p": _decimal(sampling.top_p) if sampling.HasField("top_p") else 1.0,
        "truncation": "disabled",
        "usage": usage_object(response.usage) if response.HasField("usage") else None,
        "user": options.user or None,
    }
    if response.state == Response.STATE_FAILED:
        code = ERROR_CODES.get(response.error.code, "server_error")
        members["error"] = {"code": code, "message": response.error.message}
    elif response.state == Response.STATE_INCOMPLETE:
        length = response.finish_reason == FINISH_REASON_LENGTH
        members["incomplete_details"] = {"reason": "max_output_tokens" if length else "content_filter"}
    if findings is not None and (added := findings.content()) is not None:
        members["soma"] = added
    return members


def item_object(item: ResponseItem, status: str, *, encrypted: bool = False) -> dict[str, Any]:
    """An item of `output`; with `encrypted`, a thought has its `encrypted_content`."""
    kind = item.WhichOneof("item")
    if kind == "tool_call":
        call = item.tool_call
        return {
            "id": item.item_id,
            "type": "function_call",
            "status": status,
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
            **extra_content(call.signature),
        }
    if kind == "reasoning":
        return reasoning_object(item.item_id, item.reasoning, status, encrypted=encrypted)
    content = [] if status == "in_progress" else [part_object(item)]
    told = {"id": item.item_id, "type": "message", "status": status, "role": "assistant", "content": content}
    return told | phase_member(item.text.phase)


def status_of(item: ResponseItem) -> str:
    """The status of an item that is not being made any more."""
    return "incomplete" if item.incomplete else "completed"


def phase_member(phase: "Phase.ValueType") -> dict[str, str]:
    """The member `phase` of a message; none if the phase is not known."""
    name = PHASES.get(phase)
    return {"phase": name} if name else {}


def reasoning_object(item_id: str, thought: Reasoning, status: str, *, encrypted: bool) -> dict[str, Any]:
    """A thought. Its text is a summary, the form that all clients show, also when it is the whole thought."""
    told: dict[str, Any] = {"id": item_id, "type": "reasoning", "status": status}
    told["summary"] = [summary_object(thought.text)] if thought.text else []
    if encrypted and status != "in_progress":
        told["encrypted_content"] = closed(thought)
    return told


def summary_object(text: str) -> dict[str, Any]:
    """The one part of a thought's summary."""
    return {"type": "summary_text", "text": text}


def part_object(item: ResponseItem) -> dict[str, Any]:
    """The one part of a message's content."""
    said = item.text
    if said.refusal:
        return {"type": "refusal", "refusal": said.text}
    return {
        "type": "output_text",
        "text": said.text,
        "annotations": annotations(said.citations),
        "logprobs": logprob_objects(said.logprobs, []),
    }


def annotations(citations: Iterable[Citation]) -> list[dict[str, Any]]:
    """The annotations of a text: those of chat completions, whose members are beside the type."""
    return [{"type": "url_citation", **annotation(each)["url_citation"]} for each in citations]


def usage_object(usage: Usage) -> dict[str, Any]:
    """The `usage` of a response."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_prompt_tokens,
            "cache_write_tokens": usage.cache_write_prompt_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.type == ResponseFormat.TYPE_JSON_OBJECT:
        return {"type": "json_object"}
    if wanted.type != ResponseFormat.TYPE_JSON_SCHEMA:
        return {"type": "text"}
    return {
        "type": "json_schema",
        "name": wanted.name,
        "description": wanted.description or None,
        "schema": orjson.loads(wanted.schema),
        "strict": wanted.strict,
    }


def _choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.mode == ToolChoice.MODE_NAMED:
        return {"type": "function", "name": choice.name}
    mode = CHOICES.get(choice.mode, "auto")
    if not choice.allowed:
        return mode
    tools = [{"type": "function", "name": name} for name in choice.allowed]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


def _tool(tool: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": orjson.loads(tool.parameters) if tool.parameters else None,
        "strict": tool.strict if tool.HasField("strict") else None,
    }


def _decimal(value: float) -> float:
    """A 32-bit float as the client wrote it."""
    return float(f"{value:.7g}")
