"""What the requests of a protocol are made of: typed dictionaries that say what a client may send, checked by pydantic.

Dictionaries rather than pydantic's own models, because those set the default of every member that a request lacks: a
chat request takes two and a half times as long.
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


# Of an object of a request: no value of another type is converted, and no other member is taken.
strict = with_config(ConfigDict(strict=True, extra="forbid"))
# Of an object whose other members do not matter: they are left out.
lenient = with_config(ConfigDict(strict=True, extra="ignore"))


@dataclass(frozen=True, slots=True)
class Words:
    """How a protocol refuses a request.

    Attributes:
        not_json: of a body that is no JSON object, and why.
        wrong: of an object that does not fit its model; without faults it has too many to name.
    """

    not_json: Callable[[str], MeshError]
    wrong: Callable[[Sequence[Fault]], MeshError]


class Reader(Generic[T]):
    """Reads the requests of one kind."""

    def __init__(self, kind: type[T], words: Words) -> None:
        self._validate: Callable[[object], T] = TypeAdapter(kind).validator.validate_python
        self._words = words

    def json(self, body: bytes | bytearray) -> T:
        """The request a body is.

        Raises:
            MeshError: in the protocol's words.
        """
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise self._words.not_json(str(error)) from error
        if type(given) is not dict:
            raise self._words.not_json("expected an object.")
        return self.members(given)

    def members(self, given: Mapping[str, Any]) -> T:
        """The request that these members are.

        Raises:
            MeshError: in the protocol's words.
        """
        try:
            return self._validate(given)
        except ValidationError as error:
            # The error refers to the whole request, so it goes no further than here.
            raise self._words.wrong(faults(error)) from None


def by_member(name: str, branches: Mapping[str, str], otherwise: str) -> Discriminator:
    """Chooses the branch of a union by a string member; what has no such member, or another one, is for `otherwise`."""

    def branch(value: object) -> str:
        chosen = value.get(name) if type(value) is dict else None
        return branches.get(chosen, otherwise) if type(chosen) is str else otherwise

    return Discriminator(branch)


def must(holds: Callable[[T], bool], reason: str, message: str) -> AfterValidator:
    """A rule for a value; `message` may have `{param}` in it."""

    def check(value: T) -> T:
        if not holds(value):
            raise refused(reason, message)
        return value

    return AfterValidator(check)


# A value that is a string, or else what the other type says.
TextOr = Annotated[
    Annotated[S, Tag("union:text")] | Annotated[T, Tag("union:other")],
    Discriminator(lambda value: "union:text" if type(value) is str else "union:other"),
]
