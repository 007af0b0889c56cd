"""The entries that a client asks for, in the address of its connection or later in a message."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
_LONGEST = 256


class Refused(Exception):
    """A client asked for something that does not exist; the message is sent to it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """An empty field lets everything through."""

    agent_id: str = ""
    task_id: str = ""
    level: str = ""

    def changed(self, wishes: Mapping[str, Any]) -> "Filters":
        """The filters with these changes; null removes a filter.

        Raises:
            Refused: there is no such filter, or it cannot have this value.
        """
        values: dict[str, str] = {}
        for name, value in wishes.items():
            if name not in self.__slots__:
                raise Refused(f"there is no filter {name!r}; there are {', '.join(self.__slots__)}")
            text = "" if value is None else value
            if not isinstance(text, str) or len(text) > _LONGEST:
                raise Refused(f"{name} must be a string of at most {_LONGEST} characters")
            if name == "level" and text not in ("", *LEVELS):
                raise Refused(f"level must be one of {', '.join(LEVELS)}")
            values[name] = text
        return replace(self, **values)
