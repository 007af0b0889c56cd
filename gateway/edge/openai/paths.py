"""Paths of OpenAI's API: those the edge answers, those nobody here does, and how they are told from the contracts'."""

import re
from collections.abc import Iterable

PREFIXES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/responses", "/ws")
"""What the edge answers, in OpenAI's shapes: each stands for itself and what lies under it."""
EVENTS = "/v1/responses/[^/]+"
"""What it answers a GET with `?stream=true` on as a stream of events."""
NOT_SERVED = (
    *("assistants", "audio", "batches", "containers", "conversations", "evals", "files", "fine_tuning", "images"),
    *("moderations", "organization", "realtime", "skills", "threads", "uploads", "vector_stores", "videos"),
)
"""What else lies under `/v1/` at OpenAI, as far as no contract has a path there."""
UNKNOWN_URL = "Invalid URL ({method} {path})"
"""OpenAI's words for a path nobody has."""

# What may follow a whole segment of a path.
_AFTER = "([/:?].*)?"


def openai_paths() -> str:
    """What a path of OpenAI's API matches, unless it is `contract_paths`."""
    return f"/v1{_AFTER}|({'|'.join(PREFIXES)}){_AFTER}"


def not_served_paths() -> str:
    """What a path matches that OpenAI answers and nobody does here, unless it is `contract_paths`."""
    return f"/v1/({'|'.join(NOT_SERVED)}){_AFTER}"


def contract_paths(templates: Iterable[str]) -> str:
    """What a path matches that lies near those of the contracts, so that it is a mistake for one of theirs.

    Near is what begins with the same word after `/v1/`. Where the edge's paths begin with it too, as with `chat`, it is
    what begins with the same two, and the path of that one word.
    """
    shared = {_head(prefix, 3) for prefix in PREFIXES if prefix != _head(prefix, 3)}
    near: set[str] = set()
    for template in templates:
        literal = re.split("[{:]", template, maxsplit=1)[0].rstrip("/")
        head = _head(literal, 3)
        if head not in shared:
            near.add(re.escape(head) + _AFTER)
        elif literal == head:
            near.add(re.escape(head) + r"(\?.*)?")
        else:
            near.add(re.escape(_head(literal, 4)) + _AFTER)
    return "|".join(sorted(near))


def _head(path: str, pieces: int) -> str:
    return "/".join(path.split("/")[:pieces])
