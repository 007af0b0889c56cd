"""What bytes are, and what they may be declared as."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.model.media.contents import Kind
from services.model.media.media_type import Wrong, checked, may_be
from tests.model.media.samples import HEIC, JPEG, PDF, PICTURES, PNG, SOUNDS, WAV, WEBP


def refused(kind: Kind, declared: str, data: bytes, **more: str) -> str:
    with pytest.raises(Wrong) as error:
        checked(kind, declared, data, **more)
    return str(error.value)


@pytest.mark.parametrize(("data", "media_type"), PICTURES)
def test_a_picture_is_recognized_by_its_bytes(data: bytes, media_type: str) -> None:
    assert checked("image", "", data) == media_type
    assert checked("image", media_type, data) == media_type
    assert checked("file", "application/octet-stream", data) == media_type
    assert refused("audio", "", data) == f"is {media_type}, which is not a sound"


@pytest.mark.parametrize(("data", "media_type"), SOUNDS)
def test_a_sound_is_recognized_by_its_bytes(data: bytes, media_type: str) -> None:
    declared = "" if media_type != "audio/webm" else media_type
    assert checked("audio", declared, data) == media_type
    assert "which is not a picture" in refused("image", "", data)


@pytest.mark.parametrize(
    ("kind", "declared", "data", "said"),
    [
        ("image", "image/png", JPEG, "is declared as image/png, but its bytes are image/jpeg"),
        ("image", "IMAGE/JPEG; q=1", WEBP, "is declared as image/jpeg, but its bytes are image/webp"),
        ("audio", "audio/mpeg", WAV, "is declared as audio/mpeg, but its bytes are audio/wav"),
        ("file", "application/pdf", PNG, "is declared as application/pdf, but its bytes are image/png"),
        ("file", "application/pdf", b"<html></html>", "is declared as application/pdf, but its bytes are text"),
        ("file", "text/plain", PDF, "is declared as text/plain, but its bytes are application/pdf"),
        ("file", "text/csv", b"a\x00b\x01", "is declared as text/csv, but its bytes are not text"),
        ("image", "image/png", b"<html></html>", "is text, not a picture, though it is declared as image/png"),
        ("image", "image/svg+xml", b"<svg/>", "is text, not a picture, though it is declared as image/svg+xml"),
        ("image", "", b"\x00\x01\x02\x03", "is of no known format, not a picture"),
        ("image", "", PDF, "is application/pdf, which is not a picture"),
        ("audio", "", b"hello", "is text, not a sound"),
        ("image", "image/png", b"", "is empty"),
    ],
)
def test_bytes_of_another_type_are_refused_with_both_types(kind: Kind, declared: str, data: bytes, said: str) -> None:
    assert refused(kind, declared, data) == said


@pytest.mark.parametrize(
    ("kind", "declared", "data", "found"),
    [
        ("image", "image/jpg", JPEG, "image/jpeg"),
        ("image", "image/heif", HEIC, "image/heif"),
        ("audio", "audio/x-wav", WAV, "audio/wav"),
        ("audio", "audio/mp3", SOUNDS[1][0], "audio/mpeg"),
        ("audio", "audio/x-m4a", SOUNDS[7][0], "audio/mp4"),
        ("audio", "video/webm", SOUNDS[8][0], "video/webm"),
        ("audio", "audio/pcm16", b"\x00\x01\x02\x03", "audio/pcm16"),
        ("file", "", PDF, "application/pdf"),
        ("file", "", b"\x00" * 100 + PDF, "application/pdf"),
        ("file", "", b"plain", "text/plain"),
        ("file", "text/csv", b"a;b", "text/csv"),
        ("file", "text/csv", "a;\u00e9".encode("latin-1"), "text/csv"),
        ("file", "text/markdown", b"GIF89a and %PDF- are how files begin", "text/markdown"),
        ("file", "application/json", b"{}", "application/json"),
        ("file", "application/msword", b"\xd0\xcf\x11\xe0\x00", "application/msword"),
        ("file", "", b"\xd0\xcf\x11\xe0\x00", "application/octet-stream"),
    ],
)
def test_what_is_declared_is_kept_where_the_bytes_may_be_it(kind: Kind, declared: str, data: bytes, found: str) -> None:
    assert checked(kind, declared, data) == found


def test_the_name_of_a_file_tells_the_type_that_its_bytes_do_not_show() -> None:
    assert checked("file", "", b"a,b", name="table.csv") == "text/csv"
    # The bytes are text, so they are not what the name says.
    assert checked("file", "", b"a,b", name="paper.pdf") == "text/plain"
    assert checked("file", "", b"a\x00b", name="notes.txt") == "application/octet-stream"


def test_the_type_that_a_server_declares_counts_only_where_the_bytes_show_nothing() -> None:
    assert checked("file", "", PDF, served="text/plain") == "application/pdf"
    assert checked("file", "", b"a,b", served="text/csv; charset=utf-8") == "text/csv"
    assert "but its bytes are text" in refused("file", "", b"<html>log in</html>", served="application/pdf")
    assert checked("file", "text/markdown", b"a,b", served="text/csv") == "text/markdown"


@pytest.mark.parametrize(
    ("kind", "served", "fits"),
    [
        ("image", "image/png", True),
        ("image", "", True),
        ("image", "application/octet-stream", True),
        ("image", "text/html", False),
        ("image", "video/mp4", False),
        ("audio", "video/webm", True),
        ("audio", "application/ogg", True),
        ("audio", "image/png", False),
        ("file", "text/html", True),
    ],
)
def test_what_a_server_may_declare(kind: Kind, served: str, fits: bool) -> None:
    assert may_be(kind, served) is fits


def test_a_character_that_the_beginning_of_a_text_cuts_off_does_not_make_it_binary() -> None:
    for before in range(8188, 8194):
        assert checked("file", "", b"a" * before + "\u20ac".encode() * 100) == "text/plain"


@given(st.binary(max_size=64), st.sampled_from(["image", "audio", "file"]), st.text(max_size=20))
def test_any_bytes_get_a_type_or_a_reason(data: bytes, kind: Kind, declared: str) -> None:
    try:
        outcome = f"is {checked(kind, declared, data)}"
    except Wrong as error:
        outcome = str(error)
    assert re.match(
        r"is ([a-z0-9.+-]+/[a-z0-9.+-]+$|empty$|text, not|of no known|declared as |[a-z0-9/-]+, which)", outcome
    )
