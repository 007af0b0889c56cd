"""Server-sent events, parsed from bytes as they are read (HTML standard, 9.2.6)."""

import orjson
from soma.errors.v1 import reasons

from services.mesh.call import errors

# No delta of a model is this long; a server that sends no line end must not fill the memory.
LARGEST_EVENT = 4 * 1024 * 1024


class EventParser:
    """Turns reads of any size into the `data` of whole events.

    Works on bytes: a character split between two reads is whole again by the time its event is.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes, in order; comments and events without data give none.

        Raises:
            Unavailable: an event is larger than any real one.
        """
        text = self._rest + chunk if self._rest else chunk
        if b"\r" in text:
            # A final CR may be the first half of CRLF: it waits for the next read.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        *blocks, rest = text.split(b"\n\n")
        self._rest = rest + held
        if blocks and not self._begun:
            self._begun = True
            blocks[0] = blocks[0].removeprefix(b"\xef\xbb\xbf")
        if len(rest) > LARGEST_EVENT:
            raise errors.Unavailable(
                "the provider sent an event without an end", reason=reasons.PROVIDER_PROTOCOL_ERROR
            )
        return [data for block in blocks if (data := _data(block))]

    def end(self) -> list[bytes]:
        """The data of a last event whose blank line never came; some servers leave it out."""
        return self.feed(b"\n\n")


def _data(block: bytes) -> bytes:
    if block.startswith(b"data:") and b"\n" not in block:
        return block[6:] if block[5:6] == b" " else block[5:]
    lines, failed = [], False
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"event" and value == b"error":
            failed = True
        elif name == b"error":
            # llama.cpp's name of the line.
            return _failure(value)
        elif line[:1] == b"{" and not lines:
            # No field: a server that failed and forgot that it had begun a stream.
            return block.strip(b"\n")
    data = b"\n".join(lines)
    return _failure(data) if failed else data


def _failure(data: bytes) -> bytes:
    """The data of an event that is an error by its name, in the form of one that says so itself."""
    try:
        told = orjson.loads(data)
    except orjson.JSONDecodeError:
        told = data.decode("utf-8", "replace")
    if isinstance(told, dict) and "error" in told:
        return data
    return orjson.dumps({"error": told or "no reason given"})
