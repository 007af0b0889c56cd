"""Passages: no text is lost, none is too long to embed, and cuts are between sentences."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.memory.passages import MAX_CHARACTERS, NEEDS_HEADING, Json, cut, passages_of, readable, sentences


@given(st.text(max_size=3000), st.integers(1, 80))
def test_cutting_loses_nothing_but_white_space(text: str, limit: int) -> None:
    pieces = cut(text, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)


@given(st.text(min_size=1, max_size=512), st.text(max_size=2000))
def test_every_fact_has_passages_and_each_can_be_embedded(key: str, value: str) -> None:
    passages = passages_of(key, value)
    assert passages
    assert all(0 < len(passage.whole) <= MAX_CHARACTERS for passage in passages)


def test_cuts_fall_between_sentences() -> None:
    first, second, third = "A" * 30 + ".", "B" * 20 + "!", "C" * 30 + "?"
    assert cut(f"{first} {second}\n{third}", 60) == [f"{first} {second}", third]


def test_a_long_sentence_is_cut_between_words() -> None:
    assert cut("one two three four", 9) == ["one two", "three", "four"]
    assert cut("abcdefgh", 3) == ["abc", "def", "gh"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "go." She went.', ['He said "go."', "She went."]),
        ("3.5 is not two sentences", ["3.5 is not two sentences"]),
        ("一つ。二つ。", ["一つ。", "二つ。"]),
        ("a line\n\nanother", ["a line", "another"]),
        (" \n ", []),
    ],
)
def test_text_is_split_into_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_short_value_is_found_by_the_words_of_its_key() -> None:
    assert [passage.whole for passage in passages_of("user:ann/favourite_colour", "teal")] == [
        "user ann favourite colour: teal"
    ]
    long = "The harbour of the old town lies behind the lighthouse, where the boats are."
    assert len(long) >= NEEDS_HEADING
    assert [passage.whole for passage in passages_of("kb:doc:1", long)] == [long]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (["a", 1, None], "a, 1, null"),
        ({"title": "T", "home_town": {"name": "Lisbon"}}, "title: T\nhome town name: Lisbon"),
        ({"pets": [{"name": "Rex"}, {"name": "Tom"}]}, "pets name: Rex\npets name: Tom"),
        ({}, ""),
    ],
)
def test_a_value_becomes_lines_of_names_and_scalars(value: Json, expected: str) -> None:
    assert readable(value) == expected
