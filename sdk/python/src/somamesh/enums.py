"""Values of enums, as lower-case words."""

import functools
from typing import Protocol, TypeVar

from google.protobuf.descriptor import EnumDescriptor

V = TypeVar("V", bound=int, covariant=True)


class Enum(Protocol[V]):
    """An enum of a contract; its first value means "unspecified"."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:
        """The descriptor of the enum in the contract."""
        ...

    def Value(self, name: str) -> V:
        """The number of a value, by its name."""
        ...


def enum_value(enum: Enum[V], word: str | None) -> V:
    """The value of a word: `hybrid` is `STRATEGY_HYBRID`, and None is the unspecified value.

    Raises:
        ValueError: the enum has no such value.
    """
    if word is None:
        return enum.Value(enum.DESCRIPTOR.values[0].name)
    names = _names(enum.DESCRIPTOR)
    if word not in names:
        raise ValueError(f"{enum.DESCRIPTOR.name} is one of {', '.join(names)}, not {word!r}")
    return enum.Value(names[word])


def enum_word(enum: Enum[int], value: int, otherwise: str = "") -> str:
    """The word for a value; `otherwise` if it is unset, or newer than these contracts."""
    return _words(enum.DESCRIPTOR).get(value, otherwise)


@functools.cache
def _names(enum: EnumDescriptor) -> dict[str, str]:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower(): value.name for value in enum.values[1:]}


@functools.cache
def _words(enum: EnumDescriptor) -> dict[int, str]:
    return {enum.values_by_name[name].number: word for word, name in _names(enum).items()}
