"""Forms with files, as they arrive: in any pieces, wrong, and too large."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.edge.headers import Headers
from gateway.edge.multipart import Limits, UploadForm, read_form
from services.mesh.call.errors import Cancelled, InvalidArgument, MeshError, ResourceExhausted

TYPE = b"multipart/form-data; boundary=frontier"
LIMITS = Limits(file_bytes=1000, text_bytes=500, parts=10)


def part(name: str, data: bytes, more: str = "", head: str = "") -> bytes:
    return f'--frontier\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{head}\r\n'.encode() + data + b"\r\n"


END = b"--frontier--\r\n"
WHOLE = (
    part("model", b"whisper-1")
    + part("file", b"\r\n--front\r\nbytes\x00\xff", '; filename="a b.wav"', "Content-Type: audio/wav\r\n")
    + part("include[]", "lögprobs".encode())
    + END
)


async def read(
    pieces: Sequence[bytes], limits: Limits = LIMITS, content_type: bytes = TYPE, more: Sequence[Any] = ()
) -> UploadForm:
    messages: Iterator[Any] = iter(
        [
            *({"type": "http.request", "body": each, "more_body": True} for each in pieces),
            *(more or [{"type": "http.request", "body": b"", "more_body": False}]),
        ]
    )

    async def receive() -> Any:
        return next(messages)

    return await read_form(receive, Headers([(b"content-type", content_type)]), limits)


@given(some.lists(some.integers(0, len(WHOLE)), max_size=12))
async def test_a_form_is_the_same_in_any_pieces(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    form = await read([WHOLE[begin:end] for begin, end in pairwise(places)])
    assert form.fields == [("model", "whisper-1"), ("include[]", "lögprobs")]
    ((name, upload),) = form.files
    assert (name, upload.name, upload.media_type) == ("file", "a b.wav", "audio/wav")
    assert upload.data == b"\r\n--front\r\nbytes\x00\xff"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (WHOLE, b"multipart/form-data"),
        (WHOLE, b"multipart/form-data; boundary="),
        (WHOLE, b"multipart/form-data; boundary=" + b"b" * 300),
        (WHOLE, b"multipart/form-data; boundary=another"),
        (b"", TYPE),
        (WHOLE.removesuffix(END), TYPE),
        (WHOLE[:-3], TYPE),
        (b"--frontier\r\nno header\r\n\r\nx\r\n" + END, TYPE),
        (b"--frontier\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, TYPE),
        (part("a", b"x", head="X-Long: " + "x" * 5000 + "\r\n") + END, TYPE),
        (part("a", b"x", head="X-Many: x\r\n" * 20) + END, TYPE),
        (part("n" * 5000, b"x") + END, TYPE),
        (part("a", b"\xff") + END, TYPE),
        (b"".join(part(f"p{number}", b"") for number in range(10_000)) + END, TYPE),
    ],
)
async def test_a_form_that_is_none_is_refused(body: bytes, content_type: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await read([body], content_type=content_type)
    assert caught.value.reason == "BAD_REQUEST"


async def test_another_type_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        await read([b"{}"], content_type=b"application/json")
    assert caught.value.reason == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "body",
    [
        part("file", bytes(1001), '; filename="a"') + END,
        part("text", bytes(501)) + END,
        part("a", bytes(300)) + part("b", bytes(300)) + END,
        # A part may lie about its length; what counts is what comes.
        part("file", bytes(1001), '; filename="a"', "Content-Length: 3\r\n") + END,
    ],
)
async def test_a_form_over_a_limit_is_refused(body: bytes) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        await read([body])
    assert caught.value.reason == "BODY_TOO_LARGE"


async def test_an_endless_form_is_read_up_to_a_limit() -> None:
    head = part("file", b"", '; filename="a"').removesuffix(b"\r\n")
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": head if taken == 1 else bytes(1000), "more_body": True}

    with pytest.raises(ResourceExhausted):
        await read_form(receive, Headers([(b"content-type", TYPE)]), LIMITS)
    assert taken < 10


async def test_a_client_that_leaves_ends_the_form() -> None:
    with pytest.raises(Cancelled):
        await read([WHOLE[:40]], more=[{"type": "http.disconnect"}])


@given(some.binary(max_size=400))
async def test_no_bytes_are_an_unexpected_failure(data: bytes) -> None:
    reason = ""
    try:
        await read([b"--frontier\r\n" + data, END])
    except MeshError as error:
        reason = error.reason
    assert reason in ("", "BAD_REQUEST", "BODY_TOO_LARGE")
