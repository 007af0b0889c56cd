"""A strict check against OpenAI's published types: what the edge sends fits them, and has no other members."""

from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter

# What responses have by the specification of Open Responses and not by OpenAI's types. There, the members of an error
# are beside the type of its event; here they are in a member of their own too, where OpenAI's clients look for them.
OPEN_RESPONSES = ("presence_penalty", "frequency_penalty", "error")


def fits(published: Any, given: Any, beyond: Collection[str] = ()) -> None:
    """Fail unless `given` has the published type; `beyond` are members that OpenAI's API sends and its types lack.

    Raises:
        ValidationError: a required member is missing, or one has another type.
    """
    read = TypeAdapter(published).validate_python(given)
    known = (*beyond, *OPEN_RESPONSES)
    assert not [path for path in _unknown(read, "") if path.rpartition(".")[2] not in known]


def _unknown(read: Any, path: str) -> Iterator[str]:
    if isinstance(read, BaseModel):
        yield from (f"{path}.{name}" for name in read.model_extra or ())
        for name in type(read).model_fields:
            yield from _unknown(getattr(read, name), f"{path}.{name}")
    elif isinstance(read, list):
        for index, each in enumerate(read):
            yield from _unknown(each, f"{path}[{index}]")
