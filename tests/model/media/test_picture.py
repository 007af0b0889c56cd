"""Whether a picture has pixels and an end."""

import random
from collections.abc import Callable

import pytest

from services.model.media import picture
from services.model.media.media_type import Wrong
from tests.model.media.samples import AVIF, BMP, GIF, HEIC, JPEG, PICTURES, PNG, WEBP, WEBP_EXTENDED


def reason(media_type: str, data: bytes) -> str:
    with pytest.raises(Wrong) as error:
        picture.check(media_type, data)
    return str(error.value)


@pytest.mark.parametrize(("data", "media_type"), PICTURES)
def test_a_whole_picture_passes(data: bytes, media_type: str) -> None:
    picture.check(media_type, data)


# What comes after the end of a picture, such as a film, is of no interest to a reader of pictures.
@pytest.mark.parametrize(
    ("data", "media_type"), [one for one in PICTURES if one[1] not in ("image/avif", "image/heic")]
)
def test_bytes_after_a_picture_do_no_harm(data: bytes, media_type: str) -> None:
    picture.check(media_type, data + bytes(100))


CUT = [one for one in PICTURES if one[1] not in ("image/gif", "image/tiff")]


@pytest.mark.parametrize(("data", "media_type"), CUT)
@pytest.mark.parametrize("left", [lambda size: size - 1, lambda size: size // 2, lambda size: 20])
def test_a_picture_without_its_end_is_refused(data: bytes, media_type: str, left: Callable[[int], int]) -> None:
    assert reason(media_type, data[: left(len(data))]) == "is cut off: its end is missing"


def test_the_header_of_a_gif_must_be_whole() -> None:
    assert reason("image/gif", GIF[:12]) == "is cut off: its end is missing"


@pytest.mark.parametrize(
    ("data", "media_type", "at", "size", "said"),
    [
        (PNG, "image/png", 16, 4, "0 x 2"),
        (PNG, "image/png", 20, 4, "3 x 0"),
        (JPEG, "image/jpeg", JPEG.index(b"\xff\xc0") + 5, 2, "3 x 0"),
        (GIF, "image/gif", 6, 2, "0 x 2"),
        (WEBP, "image/webp", 26, 2, "0 x 2"),
        (BMP, "image/bmp", 22, 4, "3 x 0"),
        (AVIF, "image/avif", AVIF.index(b"ispe") + 8, 4, "0 x 2"),
        (HEIC, "image/heic", HEIC.index(b"ispe") + 8, 4, "0 x 64"),
    ],
)
def test_a_picture_without_pixels_is_refused(data: bytes, media_type: str, at: int, size: int, said: str) -> None:
    empty = data[:at] + bytes(size) + data[at + size :]
    assert reason(media_type, empty) == f"has no pixels: its size is {said}"


def test_a_bmp_from_top_to_bottom_has_a_negative_height() -> None:
    picture.check("image/bmp", BMP[:22] + (-2).to_bytes(4, "little", signed=True) + BMP[26:])


def test_a_jpeg_without_a_size_is_refused() -> None:
    assert reason("image/jpeg", JPEG.replace(b"\xff\xc0", b"\xff\xe5")) == "is no JPEG: it has no size"
    endless = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000
    assert reason("image/jpeg", endless) == "is no JPEG: it has no size"


def test_a_mutated_header_is_never_an_unexpected_error() -> None:
    choice = random.Random(7)
    refused = 0
    for _ in range(20_000):
        data, media_type = choice.choice([*PICTURES, (WEBP_EXTENDED, "image/webp")])
        mutated = bytearray(data[: choice.randrange(len(data) + 1)])
        for _ in range(choice.randrange(4)):
            if mutated:
                mutated[choice.randrange(len(mutated))] = choice.choice((0, 1, 255, choice.randrange(256)))
        try:
            picture.check(media_type, bytes(mutated))
        except Wrong:
            refused += 1
    assert refused > 1000
