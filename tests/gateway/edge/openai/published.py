"""A strict check against OpenAI's published types: what the edge sends fits them, and has no other members."""

from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter


def fits(published: Any, given: Any, beyond: Collection[str] = ()) -> None:
    """Fail unless `given` has the published type; `beyond` are members that OpenAI's API sends and its types lack.

    Raises:
        ValidationError: a required member is missing, or one has another type.
    """
    read = TypeAdapter(published).validate_python(given)
    assert not [path for path in _unknown(read, "") if path.rpartition(".")[2] not in beyond]


def _unknown(read: Any, path: str) -> Iterator[str]:
    if isinstance(read, BaseModel):
        yield from (f"{path}.{name}" for name in read.model_extra or ())
        for name in type(read).model_fields:
            yield from _unknown(getattr(read, name), f"{path}.{name}")
    elif isinstance(read, list):
        for index, each in enumerate(read):
            yield from _unknown(each, f"{path}[{index}]")
