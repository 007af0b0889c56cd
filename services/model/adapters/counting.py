"""Asks a vendor's server how many tokens a conversation has."""

from collections.abc import Mapping
from typing import Any

import structlog
from soma.errors.v1 import reasons

from services.mesh.call.errors import MeshError
from services.model.adapters.counts import count, member
from services.model.adapters.http1.connections import NO_FIELDS
from services.model.adapters.upstream import Upstream
from services.model.vendor import Counting

_log = structlog.get_logger(__name__)

# Reasons of errors that mean that the server has no such method. Other servers speak like the vendor's own.
_NO_METHOD = frozenset({reasons.MODEL_NOT_FOUND, reasons.PROVIDER_PROTOCOL_ERROR})


async def counted(
    upstream: Upstream, path: str, body: dict[str, Any], headers: Mapping[str, str] = NO_FIELDS
) -> int | None:
    """The number that Anthropic's method gives; None if the server does not have the method.

    Raises:
        MeshError: the server failed, or refuses the request.
    """
    answer = await _asked(upstream, path, body, headers)
    return count(member(answer, "input_tokens")) or None


async def counted_text(upstream: Upstream, counting: Counting, body: dict[str, Any]) -> int | None:
    """The number of tokens of the text that a server makes of the body of a chat completion, as llama.cpp does.

    None if the server does not have the methods.

    Raises:
        MeshError: the server failed, or refuses the request.
    """
    prompt = member(await _asked(upstream, counting.template, body), "prompt")
    if not isinstance(prompt, str):
        return None
    asked = {"content": prompt, "add_special": True, "parse_special": True}
    tokens = member(await _asked(upstream, counting.path, asked), "tokens")
    return len(tokens) if isinstance(tokens, list) else None


async def _asked(upstream: Upstream, path: str, body: dict[str, Any], headers: Mapping[str, str] = NO_FIELDS) -> Any:
    try:
        return await upstream.post(path, body, headers)
    except MeshError as error:
        if error.reason not in _NO_METHOD:
            raise
        _log.info("provider_does_not_count", provider=upstream.name, path=path, problem=error.message)
        return None
