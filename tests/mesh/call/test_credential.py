"""Characters that copying adds are removed from a key; an error names the invalid character and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call.credential import checked, trimmed


@pytest.mark.parametrize(
    "given",
    ["sk-1\n", "sk-1\r\n", "  sk-1\t", "\ufeffsk-1", "\u200bsk-1\u00a0", '"sk-1"', "'sk-1'\n", '" sk-1 "', "sk-1"],
)
def test_characters_that_copying_adds_are_removed(given: str) -> None:
    assert trimmed(given) == checked(given) == "sk-1"


@pytest.mark.parametrize("given", ['"', "'\"", 'a"', '"a', "it's"])
def test_quotes_that_are_not_a_pair_are_kept(given: str) -> None:
    assert trimmed(given) == given


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("secret\nsecret", "character 7 of the key is a line end (U+000A)"),
        ("secret\x00", "character 7 of the key is a control character (U+0000)"),
        ("\u201csecret\u201d", "character 1 of the key is left double quotation mark (U+201C)"),
        ("secret\u00e9", "U+00E9"),
        ("secr\u20acet", "euro sign"),
    ],
)
def test_an_invalid_character_is_named_without_the_rest_of_the_key(key: str, named: str) -> None:
    with pytest.raises(ValueError) as refused:
        checked(key)
    assert named in str(refused.value)
    assert "secr" not in str(refused.value)


@given(st.text())
def test_an_accepted_key_is_one_line_of_ascii(key: str) -> None:
    try:
        passed = checked(key)
    except ValueError:
        assert not trimmed(key).isascii() or not trimmed(key).isprintable()
        return
    assert passed.isascii()
    assert passed == "" or passed.isprintable()
    f"Bearer {passed}".encode("ascii")
