"""Templates of paths, such as `/v1/responses/{id}`: which paths they match, and whether two have a path in common.

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
_MAX_LENGTH = 256


class _Any(Enum):
    """The characters that a variable of a template may match."""

    ONE = "[^/]"
    MANY = "[^/]*"
    REST = ".*"


_Symbol = str | _Any


@dataclass(frozen=True)
class Template:
    """A template as text, and as symbols: a symbol is a character, or the part of a variable that matches any."""

    text: str
    symbols: tuple[_Symbol, ...]

    @property
    def regex(self) -> str:
        """Regular expression of a whole path without its query; for Python and for RE2."""
        return "".join(symbol.value if isinstance(symbol, _Any) else re.escape(symbol) for symbol in self.symbols)

    @property
    def literal(self) -> str:
        """The text before the first variable, without a slash at its end."""
        return _VARIABLE.split(self.text, maxsplit=1)[0].rstrip("/")

    @property
    def fixed(self) -> bool:
        """Whether the template has no variables, and so matches one path."""
        return "{" not in self.text

    def shares(self, other: "Template") -> bool:
        """Whether some path matches both templates.

        It runs both templates at the same time, as automata: a pair of positions is reached if one text leads to both.
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
    # A symbol that may match nothing may be skipped.
    if first in (_Any.MANY, _Any.REST):
        yield i + 1, j
    if second in (_Any.MANY, _Any.REST):
        yield i, j + 1
    if first is not None and second is not None and _match_same(first, second):
        yield (i if first in (_Any.MANY, _Any.REST) else i + 1, j if second in (_Any.MANY, _Any.REST) else j + 1)


def _match_same(first: _Symbol, second: _Symbol) -> bool:
    """Whether some character matches both symbols."""
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    # One symbol matches any character; only a slash is not matched by all of these symbols.
    if "/" in (first, second):
        return _Any.REST in (first, second)
    return True


# The cache is limited, because templates also come from announcements of other processes.
@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """The template in a path of a contract or a surface."""
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
    """The template in a path of a surface: the first segment is no variable, and `{name=**}` is only at the end.

    Raises:
        ValueError: a surface may not declare this path.
    """
    _require_segments(text)
    if not _DECLARED.fullmatch(text):
        raise ValueError(f"{text!r} is no template of a path, such as /v1/files, /v1/files/{{id}} or /v1/{{rest=**}}")
    return template(text)


def plain(text: str) -> str:
    """Check a path that must have no variables and no slash at its end; returns it.

    Raises:
        ValueError: the path is another.
    """
    _require_segments(text)
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} is no path without variables, such as /v1")
    return text


def _require_segments(text: str) -> None:
    # The gateway resolves `.` and `..` before it looks for a route, so such a path would never be found.
    if len(text) > _MAX_LENGTH or {".", ".."} & set(text.split("/")):
        raise ValueError(f"{text[:_MAX_LENGTH]!r} is longer than {_MAX_LENGTH} characters, or has a segment . or ..")
