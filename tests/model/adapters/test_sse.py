"""The parser of server-sent events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call.errors import Unavailable
from services.model.adapters.sse import LARGEST_EVENT, EventParser

_LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(
    data=st.lists(st.lists(_LINE, min_size=1, max_size=3), max_size=5),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    noise=st.sampled_from(["", ": a comment", "event: x", "id: 7", "retry: 10"]),
    mark=st.booleans(),
    cuts=st.lists(st.integers(0, 4000), max_size=30),
)
def test_events_are_read_unchanged_from_pieces_of_any_size(
    data: list[list[str]], newline: str, noise: str, mark: bool, cuts: list[int]
) -> None:
    written = "\ufeff" if mark else ""
    for lines in data:
        block = ([noise] if noise else []) + [f"data: {line}" for line in lines] + ["", ""]
        written += newline.join(block)
    whole = written.encode()
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    parser = EventParser()
    found = [event for start, end in pairwise(places) for event in parser.feed(whole[start:end])]
    found += parser.end()
    assert found == ["\n".join(lines).encode() for lines in data]


def test_a_last_event_without_its_blank_line_is_still_read() -> None:
    parser = EventParser()
    assert parser.feed(b"data: [DONE]\n") == []
    assert parser.end() == [b"[DONE]"]


def test_one_space_after_the_colon_is_optional_and_not_part_of_the_data() -> None:
    assert EventParser().feed(b"data:x\n\ndata: y\n\ndata:  z\n\n") == [b"x", b"y", b" z"]


def test_an_event_without_an_end_does_not_fill_the_memory() -> None:
    parser = EventParser()
    with pytest.raises(Unavailable) as raised:
        for _ in range(LARGEST_EVENT // 65536 + 2):
            parser.feed(b"x" * 65536)
    assert raised.value.reason == "PROVIDER_PROTOCOL_ERROR"
