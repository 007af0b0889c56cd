"""The query of a request: its parameters, each checked, in OpenAI's words where one is wrong."""

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from soma.errors.v1 import reasons

from gateway.edge.openai import values

_NUMBER = re.compile(r"-?[0-9]{1,18}")


class Query:
    """Parameters of one request; of one that is given twice, the last counts."""

    def __init__(self, raw: bytes, known: Collection[str]) -> None:
        """Read a query as it came.

        Raises:
            InvalidArgument: it has a parameter that is not `known`.
        """
        self._given = dict(parse_qsl(raw.decode("latin-1")))
        for name in self._given:
            if name not in known:
                values.refuse(f"Unknown parameter: '{name}'.", name, reasons.UNKNOWN_PARAMETER)

    def text(self, name: str) -> str:
        """A text; empty when it is not given."""
        return self._given.get(name, "")

    def integer(self, name: str, usual: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`; `usual` when it is not given."""
        given = self._given.get(name)
        if given is None:
            return usual
        if not _NUMBER.fullmatch(given):
            values.wrong_type(given, name, "an integer")
        return values.integer(int(given), name, low, high)

    def one_of(self, name: str, supported: Collection[str]) -> str:
        """One of the texts in `supported`; the first when it is not given."""
        return values.one_of(self._given.get(name) or next(iter(supported)), name, supported)

    def boolean(self, name: str) -> bool:
        """True or false; false when it is not given."""
        return values.one_of(self._given.get(name) or "false", name, ("true", "false")) == "true"
