"""Building blocks for the requests of a protocol: typed dictionaries that pydantic checks.

They are not pydantic's own models, because a model sets the default of every missing member. A chat request then
takes two and a half times as long.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import AfterValidator, ConfigDict, Discriminator, Tag, TypeAdapter, ValidationError, with_config

from gateway.edge.faults import Fault, faults, refused
from services.mesh.call.errors import MeshError

S = TypeVar("S")
T = TypeVar("T")


# For an object of a request: values of other types are not converted, and unknown members are refused.
strict = with_config(ConfigDict(strict=True, extra="forbid"))
# For an object whose unknown members are ignored.
lenient = with_config(ConfigDict(strict=True, extra="ignore"))
# For a request whose unknown members reach the provider.
open_ended = with_config(ConfigDict(strict=True, extra="allow"))


@dataclass(frozen=True, slots=True)
class Words:
    """How a protocol refuses a request.

    Attributes:
        not_json: makes the error for a body that is not a JSON object, from the cause.
        wrong: makes the error for an object that does not match its model, from its faults; none means too many.
    """

    not_json: Callable[[str], MeshError]
    wrong: Callable[[Sequence[Fault]], MeshError]


class Reader(Generic[T]):
    """Reads the requests of one kind."""

    def __init__(self, kind: type[T], words: Words) -> None:
        self._validate: Callable[[object], T] = TypeAdapter(kind).validator.validate_python
        self._words = words

    def json(self, body: bytes | bytearray) -> T:
        """Parse and check a body.

        Raises:
            MeshError: the request is not valid; the error is worded by the protocol.
        """
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise self._words.not_json(str(error)) from error
        if type(given) is not dict:
            raise self._words.not_json("expected an object.")
        return self.members(given)

    def members(self, given: Mapping[str, Any]) -> T:
        """Check the members of a request.

        Raises:
            MeshError: the request is not valid; the error is worded by the protocol.
        """
        try:
            return self._validate(given)
        except ValidationError as error:
            # Pydantic's error refers to the whole request, so it is not chained to the new error.
            raise self._words.wrong(faults(error)) from None


def by_member(name: str, branches: Mapping[str, str], otherwise: str) -> Discriminator:
    """Chooses the branch of a union by a string member; `otherwise` if the member is missing or has another value."""

    def branch(value: object) -> str:
        chosen = value.get(name) if type(value) is dict else None
        return branches.get(chosen, otherwise) if type(chosen) is str else otherwise

    return Discriminator(branch)


def must(holds: Callable[[T], bool], reason: str, message: str) -> AfterValidator:
    """A rule for a value; `message` may contain `{param}`."""

    def check(value: T) -> T:
        if not holds(value):
            raise refused(reason, message)
        return value

    return AfterValidator(check)


# A value that is a string or has the other type.
TextOr = Annotated[
    Annotated[S, Tag("union:text")] | Annotated[T, Tag("union:other")],
    Discriminator(lambda value: "union:text" if type(value) is str else "union:other"),
]
