"""What goes wrong with an answer on its way: with its events, with the members of their objects, and with its bytes."""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests.model.fuzz.recordings import Recording, frames_of
from tests.model.fuzz.server import Delivery

Frames: TypeAlias = tuple[bytes, ...]
GONE = object()
# What a member becomes.
VALUES: Sequence[Any] = (GONE, None, 0, 5, "", "x", True, [], [7], {}, {"x": 7})
ERRORS: dict[str, Sequence[bytes]] = {
    "openai": (
        b'data: {"error":{"code":502,"message":"gone"}}\n\n',
        b'data: {"error":{"code":429,"message":"gone"},"choices":[{"delta":{},"finish_reason":"error"}]}\n\n',
        b'event: error\ndata: {"message":"gone"}\n\n',
        b'error: {"code":503,"message":"gone"}\n\n',
        b'{"error":{"message":"gone"}}\n\n',
    ),
    "anthropic": (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"gone"}}\n\n',
        b'data: {"type":"error","error":"gone"}\n\n',
        b'data: {"error":{"message":"gone"}}\n\n',
    ),
}
# Errors in the middle of an event.
BROKEN = {name: (b"\n\n" + known[0], b'\n{"error":{"message":"gone"}}\n\n') for name, known in ERRORS.items()}


@dataclass(frozen=True)
class Case:
    """An answer as a server sends it, and what was done to the recording."""

    recording: Recording
    frames: Frames
    delivery: Delivery = field(default_factory=Delivery)
    done: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes that the server means to send."""
        return b"".join(self.frames)

    def with_frames(self, frames: Sequence[bytes], done: str) -> "Case":
        """The case with other frames."""
        return Case(self.recording, tuple(frames), self.delivery, (*self.done, done))

    def delivered(self, delivery: Delivery) -> "Case":
        """The case with another delivery."""
        return Case(self.recording, self.frames, delivery, (*self.done, str(delivery)))


def without(case: Case, at: int) -> Case:
    """An event is lost."""
    return case.with_frames([*case.frames[:at], *case.frames[at + 1 :]], f"without event {at}")


def repeated(case: Case, at: int, to: int) -> Case:
    """An event comes a second time, before the event `to`."""
    return case.with_frames([*case.frames[:to], case.frames[at], *case.frames[to:]], f"event {at} also before {to}")


def moved(case: Case, at: int, to: int) -> Case:
    """An event comes at another place."""
    rest = [*case.frames[:at], *case.frames[at + 1 :]]
    return case.with_frames([*rest[:to], case.frames[at], *rest[to:]], f"event {at} at {to}")


def failed(case: Case, at: int, error: bytes) -> Case:
    """An error before an event."""
    return case.with_frames([*case.frames[:at], error, *case.frames[at:]], f"error {error!r} before event {at}")


def damaged(case: Case, at: int, instead: bytes, length: int) -> Case:
    """Other bytes in place of `length` bytes."""
    body = case.body
    done = f"{instead!r} in place of {length} bytes at {at}"
    # Later changes of events find the events that there are then.
    return case.with_frames(frames_of(body[:at] + instead + body[at + length :], case.recording.whole), done)


def changed(case: Case, at: int, path: tuple[Any, ...], value: Any) -> Case:
    """A member of an event has another value."""
    before, data, after = _parts(case.frames[at])
    new = _replaced(data, path, value)
    made = before + json.dumps(new, ensure_ascii=False).encode() + after
    what = "missing" if value is GONE else json.dumps(value)
    done = f"event {at}: {'.'.join(map(str, path)) or 'all'} is {what}"
    return case.with_frames([*case.frames[:at], made, *case.frames[at + 1 :]], done)


def paths_of(case: Case, at: int) -> list[tuple[Any, ...]]:
    """The places of all values in an event; empty if its data is not JSON."""
    _, data, _ = _parts(case.frames[at])
    return [] if data is None else list(_paths(data))


def of_events(case: Case) -> Iterator[Case]:
    """Each event lost, sent twice, and at another place, and an error at each place."""
    count = len(case.frames)
    for at in range(count):
        yield without(case, at)
        yield repeated(case, at, at)
        yield repeated(case, at, count)
        for to in range(count):
            if to != at:
                yield moved(case, at, to)
    for at in range(count + 1):
        for error in ERRORS[case.recording.protocol]:
            yield failed(case, at, error)


def of_members(case: Case) -> Iterator[Case]:
    """Each member of each object: missing, or with another value."""
    for at in range(len(case.frames)):
        for path in paths_of(case, at):
            for value in VALUES:
                yield changed(case, at, path, value)


def of_text(case: Case) -> Iterator[Case]:
    """Other ends of lines, comments, and other forms of the same events."""
    frames = case.frames
    for name, end in (("CRLF", b"\r\n"), ("CR", b"\r")):
        yield case.with_frames([frame.replace(b"\n", end) for frame in frames], f"lines end with {name}")
    if case.recording.whole:
        yield case.with_frames([b" \n\n\n", *frames], "blank lines before it")
        return
    yield case.with_frames([b": ping\n\n" + frame for frame in frames], "comments between events")
    yield case.with_frames([frame.replace(b"\n", b"\n: ping\n", 1) for frame in frames], "comments inside events")
    yield case.with_frames([frame.replace(b"data: ", b"data:") for frame in frames], "no space after `data:`")
    yield case.with_frames([b"\xef\xbb\xbf" + frames[0], *frames[1:]], "a byte order mark")
    yield case.with_frames([b"id: 7\nretry: 10\n" + frame for frame in frames], "ids and times")
    yield case.with_frames([*frames[:-1], frames[-1].rstrip(b"\n")], "no blank line at the end")
    yield case.with_frames([*frames[:-1], frames[-1].rstrip(b"\n") + b"\n"], "half a blank line at the end")


def of_bytes(case: Case, step: int = 1) -> Iterator[Case]:
    """The body cut off at each byte, in each way; an error at each byte; a wrong length; the body in small writes."""
    body = case.body
    for at in range(0, len(body), step):
        for framing, end in (("chunks", "clean"), ("chunks", "closed"), ("chunks", "reset"), ("length", "closed")):
            yield case.delivered(Delivery(framing, at, end))  # type: ignore[arg-type]
        for error in BROKEN[case.recording.protocol]:
            yield damaged(case, at, error, 0)
    for framing in ("chunks", "length", "close"):
        for end in ("clean", "closed", "reset"):
            if framing == "close" and end == "clean":
                continue
            yield case.delivered(Delivery(framing, None, end))  # type: ignore[arg-type]
    for difference in (-1, -2, -3, -40, -len(body) + 1, -len(body), 1, 7):
        yield case.delivered(Delivery("length", None, "closed", difference))
    for size in (1, 2, 3, 7, 100):
        yield case.delivered(Delivery(writes=tuple(range(size, len(body), size))))
    for at in range(1, len(body), step):
        yield case.delivered(Delivery("length", writes=(at,)))


def singles(recording: Recording, step: int = 1) -> Iterator[Case]:
    """All mutations of a recording, one at a time."""
    case = Case(recording, recording.frames)
    yield case
    if not recording.whole:
        yield from of_events(case)
    yield from of_members(case)
    yield from of_text(case)
    yield from of_bytes(case, step)


def _parts(frame: bytes) -> tuple[bytes, Any, bytes]:
    """An event in three: before its data, its data read, and after it; None if the data is not JSON."""
    before, mark, rest = frame.rpartition(b"data: ")
    try:
        return before + mark, json.loads(rest), rest[len(rest.rstrip()) :]
    except ValueError:
        return frame, None, b""


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in items:
        yield from _paths(member, (*path, name))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return value if new is GONE else new
    changed = copy.deepcopy(value)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    if new is GONE:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return changed
