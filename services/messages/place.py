"""Where a thought stands in its message, which some providers check when it comes back."""

import orjson
from soma.model.v1.message_pb2 import Reasoning

# The members of a thought's details that say it.
_CHARACTERS, _CALLS = "after_characters", "after_calls"
_PLACE = frozenset({_CHARACTERS, _CALLS})


def details_at(characters: int, calls: int) -> str:
    """The details of a thought that came after so many characters of the text and so many tool calls of its message."""
    if not characters and not calls:
        return ""
    return orjson.dumps({_CHARACTERS: characters, _CALLS: calls}).decode()


def place_of(thought: Reasoning) -> tuple[int, int]:
    """The characters and the tool calls before a thought; it is at the beginning of its message if it does not say."""
    if not thought.details:
        return 0, 0
    details = _members(thought.details)
    return _count(details.get(_CHARACTERS)), _count(details.get(_CALLS))


def has_other_details(details: str) -> bool:
    """Whether the details of a thought say more than its place."""
    return bool(details) and not _PLACE.issuperset(_members(details) or ("unreadable",))


def _members(details: str) -> dict[str, object]:
    try:
        found = orjson.loads(details)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
