"""Values of enums, as the words a client says them by."""

import functools
from typing import Protocol, TypeVar

from google.protobuf.descriptor import EnumDescriptor

V = TypeVar("V", bound=int, covariant=True)


class Enum(Protocol[V]):
    """An enum of a contract; its first value stands for none."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:
        """What the contract says of it."""
        ...

    def Value(self, name: str) -> V:
        """The value of a name."""
        ...


def enum_value(enum: Enum[V], word: str | None) -> V:
    """The value a word stands for: `hybrid` is `STRATEGY_HYBRID`; that for none where it is None.

    Raises:
        ValueError: there is none of that name.
    """
    if word is None:
        return enum.Value(enum.DESCRIPTOR.values[0].name)
    names = _names(enum.DESCRIPTOR)
    if word not in names:
        raise ValueError(f"{enum.DESCRIPTOR.name} is one of {', '.join(names)}, not {word!r}")
    return enum.Value(names[word])


def enum_word(enum: Enum[int], value: int, otherwise: str = "") -> str:
    """The word for a value; `otherwise` where it is unset, or newer than these contracts."""
    return _words(enum.DESCRIPTOR).get(value, otherwise)


@functools.cache
def _names(enum: EnumDescriptor) -> dict[str, str]:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix).lower(): value.name for value in enum.values[1:]}


@functools.cache
def _words(enum: EnumDescriptor) -> dict[int, str]:
    return {enum.values_by_name[name].number: word for word, name in _names(enum).items()}
