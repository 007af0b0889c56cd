"""Streams of each protocol, cut, doubled or damaged: no incomplete answer counts as complete, and none is lost."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.mesh.call.errors import MeshError
from services.model.adapters.anthropic_answer import MessageAnswer
from services.model.adapters.exchange import Question, answered
from services.model.adapters.http1.connections import NO_FIELDS
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.refusal import stream_cut
from services.model.adapters.upstream import Upstream
from tests.model.adapters.answering import Heard, data, delta, events, message, text_block
from tests.size import examples


class Recorded(Upstream):
    """An upstream that replays reads; with `broken`, the connection breaks after them."""

    def __init__(self, reads: Sequence[bytes], broken: bool) -> None:
        self.name = "lab"
        self._reads = reads
        self._broken = broken

    async def stream(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str] = NO_FIELDS
    ) -> AsyncGenerator[bytes, None]:
        for read in self._reads:
            if read:
                yield read
        if self._broken:
            raise stream_cut(self.name)


@dataclass(frozen=True)
class Recording:
    """A stream as a vendor sends it.

    Attributes:
        failure: the frame by which the vendor reports a failure inside a stream.
        ends: frames that mark the end of the answer; one of them is enough.
    """

    name: str
    frames: tuple[bytes, ...]
    failure: bytes
    ends: frozenset[int]

    def heard(self, reads: Sequence[bytes], broken: bool = False) -> Heard:
        """The answer that a caller gets from these reads.

        Raises:
            MeshError: the answer failed.
        """
        heard = Heard()

        async def question() -> Question:
            return "/", {}, {}

        async def listen() -> None:
            answer = MessageAnswer("lab") if self.name == "anthropic" else ChatAnswer("lab")
            async for event in answered(Recorded(reads, broken), question, answer):
                heard.add(event)

        asyncio.run(listen())
        assert heard.finished is not None
        return heard

    @property
    def whole(self) -> Heard:
        """The complete answer."""
        return self.heard(self.frames)


def piece(index: int | None, arguments: str, **opening: Any) -> dict[str, Any]:
    name = opening.pop("name", None)
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"function": function, **opening, **({} if index is None else {"index": index})}


def openai(name: str, *chunks: Any, comment: bytes = b"") -> Recording:
    frames = tuple(comment + frame for frame in data(*chunks))
    ends = [number for number, chunk in enumerate(chunks) if chunk["choices"] and chunk["choices"][0]["finish_reason"]]
    failure = data({"error": {"code": 502, "message": "gone"}, **delta("error", content="")}, end=b"")[0]
    return Recording(name, frames, failure, frozenset([*ends, len(frames) - 1]))


USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}
CALLS = (
    delta(tool_calls=[piece(0, "", id="a", type="function", name="weather")]),
    delta(tool_calls=[piece(0, '{"city": ')]),
    delta(tool_calls=[piece(0, '"Grüße"}')]),
    delta(tool_calls=[piece(1, "{}", id="b", type="function", name="time")]),
    delta("tool_calls"),
)
CLAUDE = events(
    *message(
        text_block("Hello", " 🌍"),
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {},
            "deltas": [{"type": "input_json_delta", "partial_json": each} for each in ("", '{"city": ', '"Oslo"}')],
        },
        stop_reason="tool_use",
        output_tokens=3,
    )
)
SAID = (delta(content="Hello"), delta(content=" 🌍"), delta("stop", content=""))
COUNTED = {**delta("stop", content=""), "usage": USAGE["usage"]}
BOTH = [piece(0, "{}", id="a1b2c3d4e", name="time"), piece(1, "{}", id="f1b2c3d4e", name="date")]
FIRST = piece(0, '{"x":1}', id="call_1", type="function", name="f")
SECOND = piece(0, '{"x":2}', id="call_2", type="function", name="f")
ANTHROPIC = Recording(
    "anthropic",
    (*CLAUDE[:2], *events({"type": "ping"}), *CLAUDE[2:]),
    events({"type": "error", "error": {"type": "overloaded_error"}})[0],
    frozenset((len(CLAUDE) - 1, len(CLAUDE))),
)
RECORDINGS = [
    openai("openai", delta(role="assistant", content=""), *SAID, USAGE),
    openai("calls", delta(role="assistant", content=None), delta(content="Wait"), *CALLS, USAGE),
    openai("deepseek", delta(content=None, reasoning_content="Hm"), delta(content="Hello"), COUNTED),
    openai("mistral", delta(content=[{"type": "text", "text": "Hello"}]), delta("tool_calls", tool_calls=BOTH)),
    openai("ollama", SAID[0], delta(tool_calls=[FIRST]), delta(tool_calls=[SECOND]), delta("tool_calls")),
    openai("openrouter", *SAID, USAGE, comment=b": OPENROUTER PROCESSING\n\n"),
    ANTHROPIC,
]
recordings = st.sampled_from(RECORDINGS)
few = settings(max_examples=examples(60))


def same(heard: Heard, whole: Heard) -> bool:
    """Whether two answers are the same; the usage may be lost with the end of a stream."""
    calls = list(map(str, heard.asked)) == list(map(str, whole.asked))
    assert heard.finished is not None
    assert whole.finished is not None
    return heard.text == whole.text and calls and heard.finished.finish_reason == whole.finished.finish_reason


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_recording_gives_the_original_answer(recording: Recording) -> None:
    assert recording.whole.text.startswith(("Hello", "Wait"))


@few
@given(recording=recordings, cuts=st.lists(st.integers(0, 4000), max_size=20), ending=st.sampled_from(["\n", "\r\n"]))
def test_reads_of_any_size_and_other_line_ends_lose_nothing(recording: Recording, cuts: list[int], ending: str) -> None:
    whole = b"".join(recording.frames).replace(b"\n", ending.encode())
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    heard = recording.heard([whole[start:end] for start, end in pairwise(places)])
    assert heard.finished == recording.whole.finished
    assert same(heard, recording.whole)


@few
@given(recording=recordings, at=st.integers(0, 4000), broken=st.booleans())
def test_a_stream_that_stops_before_its_finish_reason_is_cut(recording: Recording, at: int, broken: bool) -> None:
    whole = b"".join(recording.frames)
    ended = len(b"".join(recording.frames[: min(recording.ends) + 1]))
    try:
        heard = recording.heard([whole[:at]], broken)
    except MeshError:
        assert at < ended
    else:
        # The blank line after the last event may be missing.
        assert at >= ended - 2
        assert same(heard, recording.whole)


@few
@given(recording=recordings, place=st.integers(0, 30))
def test_a_failure_anywhere_is_never_an_answer(recording: Recording, place: int) -> None:
    place %= len(recording.frames)
    with pytest.raises(MeshError):
        recording.heard([*recording.frames[:place], recording.failure, *recording.frames[place:]])
    with pytest.raises(MeshError):
        recording.heard([*recording.frames[:place], recording.failure])


@few
@given(recording=recordings, lost=st.sets(st.integers(0, 30), min_size=1, max_size=4))
def test_lost_events_do_not_affect_others(recording: Recording, lost: set[int]) -> None:
    kept = [frame for number, frame in enumerate(recording.frames) if number not in lost]
    whole = recording.whole
    try:
        heard = recording.heard(kept)
    except MeshError:
        gone = {number for number in range(len(recording.frames)) if number in lost}
        opening = any(b'"name"' in recording.frames[number] or b"_start" in recording.frames[number] for number in gone)
        assert gone >= recording.ends or opening
    else:
        assert not lost >= recording.ends
        assert len(heard.calls) <= len(whole.calls)
        remaining = iter(whole.text)
        assert all(character in remaining for character in heard.text)


@few
@given(recording=recordings, place=st.integers(0, 30))
def test_a_repeated_event_merges_no_calls_and_loses_none(recording: Recording, place: int) -> None:
    place %= len(recording.frames)
    whole = recording.whole
    heard = recording.heard([*recording.frames[: place + 1], *recording.frames[place:]])
    names = [name for name, _ in heard.asked]
    assert set(names) == {name for name, _ in whole.asked}
    assert len(names) <= len(whole.asked) + 1
    assert len(heard.text) >= len(whole.text)


@few
@given(recording=recordings, at=st.integers(0, 4000), byte=st.integers(0, 255))
def test_a_damaged_byte_is_an_answer_or_a_typed_failure(recording: Recording, at: int, byte: int) -> None:
    whole = bytearray(b"".join(recording.frames))
    at %= len(whole)
    whole[at] = byte
    try:
        heard = recording.heard([bytes(whole)])
    except MeshError:
        return
    assert len(heard.calls) <= len(recording.whole.calls) + 1
