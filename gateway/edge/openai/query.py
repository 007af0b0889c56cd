"""Reads the query of a request into a model; errors in parameters have OpenAI's messages."""

import re
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from pydantic import BeforeValidator

from gateway.edge.openai.words import QUERY
from gateway.edge.request_model import Reader

_NUMBER = re.compile(r"-?[0-9]{1,18}")
T = TypeVar("T")
# A query has only strings. A string that is not a number stays a string, and the model refuses it.
Number = Annotated[int, BeforeValidator(lambda raw: int(raw) if _NUMBER.fullmatch(raw) else raw)]


class QueryReader(Reader[T]):
    """Reads the queries of one kind of request."""

    def __init__(self, kind: type[T]) -> None:
        super().__init__(kind, QUERY)

    def query(self, raw: bytes) -> T:
        """The parameters of an undecoded query; if a parameter is repeated, its last value is used.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
        """
        return self.members(dict(parse_qsl(raw.decode("latin-1"))))


def includes(raw: bytes, value: str) -> bool:
    """Whether a query has this value of `include`, which clients repeat for several values."""
    return any(name in ("include", "include[]") and given == value for name, given in parse_qsl(raw.decode("latin-1")))
