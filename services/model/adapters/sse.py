"""Server-sent events, parsed from bytes as they are read (HTML standard, 9.2.6)."""

from soma.errors.v1 import reasons

from services.mesh import errors

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
    lines = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
