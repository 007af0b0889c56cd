"""Token counts as providers report them: what is missing, negative or no number is not known."""

from typing import Any

from soma.model.v1.message_pb2 import Usage

# More than any model reads or writes; the sum of two fits the contract's 32 bits.
_MOST = 2**30


def count(value: object) -> int:
    """A number of tokens; 0 where the value does not say."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value <= _MOST else 0


def member(holder: object, name: str) -> Any:
    """A member of what should be an object; None where it is none."""
    return holder.get(name) if isinstance(holder, dict) else None


def usage_of(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> Usage:
    """The contract's usage; the generation estimates what is 0 and cannot be."""
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_prompt_tokens=cached,
        reasoning_tokens=reasoning,
    )
