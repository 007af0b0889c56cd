"""Reads the token counts of providers. A count that is missing, negative or not a number is unknown."""

from typing import Any

from soma.model.v1.message_pb2 import Usage

# More tokens than any model reads or writes. The sum of two such counts fits the 32 bits of the contract.
_MOST = 2**30


def count(value: object) -> int:
    """A number of tokens; 0 when it is unknown."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 < value <= _MOST else 0


def member(holder: object, name: str) -> Any:
    """A member of an object; None if the value is not an object."""
    return holder.get(name) if isinstance(holder, dict) else None


def usage_of(prompt: int, completion: int, cached: int = 0, reasoning: int = 0, cache_write: int = 0) -> Usage:
    """The usage of the contract. `Tally` estimates counts that are 0 and should not be."""
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_prompt_tokens=cached,
        reasoning_tokens=reasoning,
        cache_write_prompt_tokens=cache_write,
    )
