"""The pictures of a chat on the command line: files and addresses, and the places where people name them."""

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from soma.model.v1.message_pb2 import Media

from services.model.media import media_type, picture

# The mesh's usual limit on a request. A larger file is not even read.
LARGEST = 32 * 1024 * 1024
COMMAND = "/image"
_UNITS = ("bytes", "kB", "MB")
# A word as a shell has it: a terminal quotes or escapes the path of a file that is dropped on it. An apostrophe inside
# a word is no quote.
_WORD = re.compile(r"""(?:^|(?<=\s))\s*(?:"([^"]+)"|'([^']+)'|((?:\\.|[^\s\\])+))""")
_MARKS = ".,;:!?"


class NotAPicture(Exception):
    """Why a picture cannot be sent, as a sentence that names it."""


@dataclass(frozen=True)
class Line:
    """A line of a conversation.

    Attributes:
        text: what is said; empty if nothing is.
        sources: files and addresses that the line tells to send.
        mentioned: files that its text mentions by a path.
        clears: the pictures that wait for the next message are taken back.
    """

    text: str = ""
    sources: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    clears: bool = False


def read_line(line: str) -> Line:
    """What a line says: a message, `/image PATH` with or without a message after it, or `/image` alone."""
    head, _, rest = line.strip().partition(" ")
    if head != COMMAND:
        words = [_plain(found) for found in _WORD.finditer(line)]
        return Line(line, mentioned=tuple(word for word in words if _is_path(word)))
    found = _WORD.match(rest)
    if found is None:
        return Line(clears=True)
    return Line(rest[found.end() :].strip(), sources=(_plain(found),))


def read_picture(source: str) -> Media:
    """The picture in a file or at an address.

    Raises:
        NotAPicture: the file is missing, too large, or holds no picture.
    """
    if source.startswith(("http://", "https://")):
        return Media(url=source)
    path = Path(source).expanduser()
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise NotAPicture(
                f"{source} is too large: it has {size_of(size)}, and a message {size_of(LARGEST)} at most"
            )
        data = path.read_bytes()
    except OSError as error:
        raise NotAPicture(f"{source}: {error.strerror}") from None
    try:
        found = media_type.checked("image", "", data, name=path.name)
        picture.check(found, data)
    except media_type.Wrong as wrong:
        raise NotAPicture(f"{source} {wrong}") from None
    return Media(data=data, media_type=found, name=path.name)


def described(media: Media) -> str:
    """A picture in a few words: its name, type and size, or its address."""
    return media.url or f"{media.name}, {media.media_type}, {size_of(len(media.data))}"


def size_of(count: int) -> str:
    """A number of bytes for people, such as `12.3 kB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{count} bytes"


def _plain(found: re.Match[str]) -> str:
    """A word without its quotes and backslashes."""
    quoted = found[1] or found[2]
    return quoted or re.sub(r"\\(.)", r"\1", found[3]).rstrip(_MARKS)


def _is_path(word: str) -> bool:
    """Whether a word is the path of a picture: a name without a folder is none, because people say such names too."""
    kind = mimetypes.guess_type(word)[0] or ""
    return "/" in word and "://" not in word and kind.startswith("image/")
