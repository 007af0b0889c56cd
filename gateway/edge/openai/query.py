"""The query of a request as a model: its parameters, each checked, in OpenAI's words where one is wrong."""

import re
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from pydantic import BeforeValidator

from gateway.edge.openai.words import QUERY
from gateway.edge.request_model import Reader

_NUMBER = re.compile(r"-?[0-9]{1,18}")
T = TypeVar("T")
# A query has strings only: one that is no number stays one, and is refused as that.
Number = Annotated[int, BeforeValidator(lambda raw: int(raw) if _NUMBER.fullmatch(raw) else raw)]


class QueryReader(Reader[T]):
    """Reads the queries of one kind of request."""

    def __init__(self, kind: type[T]) -> None:
        super().__init__(kind, QUERY)

    def query(self, raw: bytes) -> T:
        """The parameters of a query as it came; of one that is given twice, the last counts.

        Raises:
            InvalidArgument: names the parameter at fault.
        """
        return self.members(dict(parse_qsl(raw.decode("latin-1"))))
