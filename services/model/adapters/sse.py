"""Parses server-sent events from bytes as they arrive (HTML standard, 9.2.6)."""

import orjson
from soma.errors.v1 import reasons

from services.mesh.call import errors

# Longer than any delta of a model. The limit keeps a server that sends no line end from filling the memory.
LARGEST_EVENT = 4 * 1024 * 1024


class EventParser:
    """Splits bytes that arrive in pieces of any size into the `data` of complete events.

    It works on bytes, so a character may be split between two pieces. An event has at most `largest` bytes.
    """

    def __init__(self, largest: int = LARGEST_EVENT) -> None:
        self._largest = largest
        self._rest = b""
        self._begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes, in order, without comments and empty events.

        Raises:
            Unavailable: an event is too large.
        """
        text = self._rest + chunk if self._rest else chunk
        if b"\r" in text:
            # A CR at the end may be the first half of CRLF, so it waits for the next chunk.
            held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        *blocks, rest = text.split(b"\n\n")
        self._rest = rest + held
        if blocks and not self._begun:
            self._begun = True
            blocks[0] = blocks[0].removeprefix(b"\xef\xbb\xbf")
        if len(rest) > self._largest:
            raise errors.Unavailable(
                "the provider sent an event without an end", reason=reasons.PROVIDER_PROTOCOL_ERROR
            )
        return [data for block in blocks if (data := _data(block))]

    def end(self) -> list[bytes]:
        """The data of a last event without its blank line, which some servers leave out."""
        return self.feed(b"\n\n")


def _data(block: bytes) -> bytes:
    if block.startswith(b"data:") and b"\n" not in block:
        return block[6:] if block[5:6] == b" " else block[5:]
    lines, failed = [], False
    begin, bare = 0, b""
    for line in block.split(b"\n"):
        at, begin = begin, begin + len(line) + 1
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"event" and value == b"error":
            failed = True
        elif name == b"error":
            # The name of the line in llama.cpp.
            return _failure(value)
        elif line[:1] == b"{":
            # A bare JSON object: some servers send an error like this in the middle of a stream, or of an event.
            if _is_failure(line):
                return line
            # It may have several lines. Only the first such object is tried so, because each try reads all the rest.
            if not bare and _is_failure(bare := block[at:].strip(b"\n")):
                return bare
    data = b"\n".join(lines) if lines else bare
    return _failure(data) if failed else data


def _is_failure(data: bytes) -> bool:
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and "error" in found


def _failure(data: bytes) -> bytes:
    """The data of an event named `error`, changed into an object with a member `error`."""
    if _is_failure(data):
        return data
    try:
        failure = orjson.loads(data)
    except orjson.JSONDecodeError:
        failure = data.decode("utf-8", "replace")
    return orjson.dumps({"error": failure or "no reason given"})
