"""Detectors find exactly the spans that they are for, and nothing that only looks similar."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.detectors import DETECTORS, luhn


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("payment_card", "pay with 4111 1111 1111 1111 now", ["4111 1111 1111 1111"]),
        ("payment_card", "5500-0000-0000-0004,378282246310005", ["5500-0000-0000-0004", "378282246310005"]),
        ("payment_card", "order 4111111111111112", []),
        ("payment_card", "at 1700000000.123456789012", []),
        ("email", "write to a.b+c@mail.example.org.", ["a.b+c@mail.example.org"]),
        ("email", "user@localhost, @handle, a@b", []),
        ("us_ssn", "078-05-1120 and 000-12-3456", ["078-05-1120"]),
        ("ipv4", "from 10.0.0.255 to 10.0.0.256, version 1.2.3.4.5", ["10.0.0.255"]),
        ("private_key", "x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y", None),
        ("private_key", "-----BEGIN PUBLIC KEY-----", []),
    ],
)
def test_a_detector_finds_exactly(kind: str, text: str, found: list[str] | None) -> None:
    spans = [text[start:end] for start, end in DETECTORS[kind](text)]
    assert spans == (found if found is not None else [text[2:-2]])


def test_a_private_key_whose_end_is_missing_is_found_to_the_end_of_the_text() -> None:
    text = "key: -----BEGIN PRIVATE KEY-----\nMIIE"
    assert list(DETECTORS["private_key"](text)) == [(5, len(text))]


@given(st.text(alphabet="0123456789", min_size=12, max_size=18))
def test_every_number_has_exactly_one_check_digit(number: str) -> None:
    assert [luhn(number + str(digit)) for digit in range(10)].count(True) == 1


DIGITS = st.sampled_from(("0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９"))
WORDS = st.text(alphabet=st.characters(exclude_categories=("Nd", "Cs"), exclude_characters="."), max_size=20)


@given(
    number=st.text(alphabet="0123456789", min_size=12, max_size=18),
    digits=DIGITS,
    between=st.lists(st.sampled_from(("", " ", "-")), min_size=18, max_size=18),
    before=WORDS,
    after=WORDS,
)
def test_a_card_is_found_in_any_text_and_in_the_digits_of_any_script(
    number: str, digits: str, between: list[str], before: str, after: str
) -> None:
    checked = next(number + check for check in "0123456789" if luhn(number + check))
    first, *rest = (digits[int(digit)] for digit in checked)
    card = first + "".join(map("".join, zip(between, rest, strict=False)))
    text = f"{before}x{card}x{after}"
    assert [text[start:end] for start, end in DETECTORS["payment_card"](text)] == [card]


@given(st.text(max_size=200))
def test_spans_lie_inside_the_text_and_do_not_overlap(text: str) -> None:
    for detector in DETECTORS.values():
        spans = list(detector(text))
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
