"""Templates of paths, such as `/v1/responses/{id}`: what they match, and whether two of them share a path.

The syntax is that of `google.api.http`: `{name}` and `{name=*}` are one segment, `{name=**}` is any number of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

_VARIABLE = re.compile(r"\{[^{}=]+(?:=([^{}]+))?\}")
_LITERAL = r"[A-Za-z0-9._~!$&'()+,;=@:-]+"
_NAME = r"[a-z][a-z0-9_]*"
_PLAIN = re.compile(rf"(?:/{_LITERAL})+")
_DECLARED = re.compile(
    rf"/{_LITERAL}(?:/(?:{_LITERAL}|\{{{_NAME}(?:=\*)?\}}(?::{_LITERAL})?))*(?:/\{{{_NAME}=\*\*\}})?"
)
_LONGEST = 256


class _Any(Enum):
    """Characters that a place of a template leaves open."""

    ONE = "[^/]"
    MANY = "[^/]*"
    REST = ".*"


_Symbol = str | _Any


@dataclass(frozen=True)
class Template:
    """A template as written, and its symbols: characters, and what is left open between them."""

    text: str
    symbols: tuple[_Symbol, ...]

    @property
    def regex(self) -> str:
        """What a whole path matches, without its query; for Python and for RE2."""
        return "".join(symbol.value if isinstance(symbol, _Any) else re.escape(symbol) for symbol in self.symbols)

    @property
    def literal(self) -> str:
        """What stands before the first variable, without a slash at its end."""
        return _VARIABLE.split(self.text, maxsplit=1)[0].rstrip("/")

    @property
    def fixed(self) -> bool:
        """Whether it is one path."""
        return "{" not in self.text

    def shares(self, other: "Template") -> bool:
        """Whether some path matches both.

        Reads both at once, as automata: a pair of places is reached when one text leads to both of them.
        """
        reached = {(0, 0)}
        ahead = [(0, 0)]
        while ahead:
            mine, others = ahead.pop()
            if mine == len(self.symbols) and others == len(other.symbols):
                return True
            for pair in _next(self.symbols, mine, other.symbols, others):
                if pair not in reached:
                    reached.add(pair)
                    ahead.append(pair)
        return False


def _next(a: tuple[_Symbol, ...], i: int, b: tuple[_Symbol, ...], j: int) -> Iterator[tuple[int, int]]:
    first, second = a[i] if i < len(a) else None, b[j] if j < len(b) else None
    # What may be empty may be passed over.
    if first in (_Any.MANY, _Any.REST):
        yield i + 1, j
    if second in (_Any.MANY, _Any.REST):
        yield i, j + 1
    if first is not None and second is not None and _meet(first, second):
        yield (i if first in (_Any.MANY, _Any.REST) else i + 1, j if second in (_Any.MANY, _Any.REST) else j + 1)


def _meet(first: _Symbol, second: _Symbol) -> bool:
    """Whether one character is both."""
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    # One of them is open, and only the end of a segment is closed to some.
    if "/" in (first, second):
        return _Any.REST in (first, second)
    return True


# Announcements come from other processes: what they name is kept for a while only.
@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """A template of any contract or surface."""
    symbols: list[_Symbol] = []
    end = 0
    for variable in _VARIABLE.finditer(text):
        symbols += text[end : variable.start()]
        symbols += _pattern(variable.group(1) or "*")
        end = variable.end()
    return Template(text, (*symbols, *text[end:]))


def _pattern(pattern: str) -> Iterator[_Symbol]:
    for number, segment in enumerate(pattern.split("/")):
        if number:
            yield "/"
        if segment == "**":
            yield _Any.REST
        elif segment == "*":
            yield from (_Any.ONE, _Any.MANY)
        else:
            yield from segment


def declared(text: str) -> Template:
    """A template as a surface may declare it: its first segment is no variable, and `{name=**}` stands at the end only.

    Raises:
        ValueError: it is another.
    """
    _require_segments(text)
    if not _DECLARED.fullmatch(text):
        raise ValueError(f"{text!r} is no template of a path, such as /v1/files, /v1/files/{{id}} or /v1/{{rest=**}}")
    return template(text)


def plain(text: str) -> str:
    """A path without variables and without a slash at its end.

    Raises:
        ValueError: it is none.
    """
    _require_segments(text)
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} is no path without variables, such as /v1")
    return text


def _require_segments(text: str) -> None:
    # The gateway resolves these before it looks for a route, so that none would ever be found.
    if len(text) > _LONGEST or {".", ".."} & set(text.split("/")):
        raise ValueError(f"{text[:_LONGEST]!r} is longer than {_LONGEST} characters, or has a segment . or ..")
