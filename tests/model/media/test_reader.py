"""The contents of a request: where they come from, how they are checked, and what an adapter gets."""

import asyncio
import binascii
import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from soma.model.v1.message_pb2 import ROLE_USER, Media, Message, Part, Text

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call.errors import InvalidArgument, NotFound, Unavailable
from services.model.media.contents import Contents, Kind
from services.model.media.reader import MediaReader
from services.model.media.settings import MediaSettings
from tests.model.media.samples import JPEG, PDF, PNG, WAV
from tests.model.media.web import hang, ok, serving

HASH = hashlib.sha256(PNG).hexdigest()
LARGE = 1024 * 1024
NONE: tuple[Kind, ...] = ()
IMAGES: tuple[Kind, ...] = ("image",)
FILES: tuple[Kind, ...] = ("file",)


class Kept:
    """Bytes that the mesh keeps for one tenant."""

    def __init__(self, *kept: bytes) -> None:
        self._kept = {hashlib.sha256(data).hexdigest(): data for data in kept}
        self.reads: list[str] = []
        self.base64 = ""

    async def read(self, tenant_id: str, hash: str) -> bytes:
        """The bytes."""
        assert tenant_id == "acme"
        self.reads.append(hash)
        if hash not in self._kept:
            raise NotFound(f"there is no content with the hash {hash}", reason="MEDIA_NOT_FOUND")
        return self._kept[hash]

    def take_base64(self, tenant_id: str, hash: str) -> str:
        """The text of all bytes, if a test has set it."""
        return self.base64


def image(**media: Any) -> Part:
    return Part(image=Media(**media))


def file(**media: Any) -> Part:
    return Part(file=Media(**media))


async def read(*parts: Part, kept: Kept | None = None, reads_urls: Collection[Kind] = (), **settings: Any) -> Contents:
    """The contents of one message."""
    given = MediaSettings(**{"trusted_hosts": ("127.0.0.1",), "fetch_timeout": 5.0, **settings})
    reader = MediaReader(kept or Kept(), given)
    message = Message(role=ROLE_USER, parts=parts)
    return await reader.contents([message], reads_urls=reads_urls, tenant_id="acme")


async def refused(*parts: Part, **more: Any) -> tuple[str, str]:
    """Reason and message of the refusal."""
    with pytest.raises(InvalidArgument) as error:
        await read(*parts, **more)
    return error.value.reason, error.value.message


async def test_an_adapter_gets_bytes_in_every_form() -> None:
    part = image(data=PNG, media_type="image/png")
    contents = await read(part)
    coded = binascii.b2a_base64(PNG, newline=False).decode()
    assert contents.data(part.image) == PNG
    assert contents.base64(part.image) == coded
    assert contents.media_type(part.image) == "image/png"
    assert contents.data_url(part.image) == f"data:image/png;base64,{coded}"
    assert contents.url(part.image) is None


async def test_a_request_without_media_reads_nothing() -> None:
    kept = Kept()
    await read(Part(text=Text(text="hello")), kept=kept)
    assert kept.reads == []


async def test_what_the_mesh_keeps_is_read_once_though_the_request_has_it_twice() -> None:
    kept = Kept(PNG)
    part = image(hash=HASH)
    contents = await read(part, image(hash=HASH), kept=kept)
    assert contents.data(part.image) == PNG
    assert kept.reads == [HASH]


async def test_the_text_that_bytes_came_in_is_used_instead_of_another(tmp_path: Path) -> None:
    kept = Kept(PNG)
    kept.base64 = "as it came"
    part = image(hash=HASH, media_type="image/png")
    contents = await read(part, kept=kept)
    assert contents.data_url(part.image) == "data:image/png;base64,as it came"


async def test_what_a_service_holds_is_read_as_long_as_it_holds_it(tmp_path: Path) -> None:
    blobs = Blobs(Directory(tmp_path))
    reader = MediaReader(blobs, MediaSettings())

    async def seen(tenant_id: str, hash: str) -> bytes:
        part = image(hash=hash, media_type="image/png")
        messages = [Message(role=ROLE_USER, parts=[part])]
        return (await reader.contents(messages, reads_urls=NONE, tenant_id=tenant_id)).data(part.image)

    async with blobs.hold("acme", PNG) as hash:
        assert await seen("acme", hash) == PNG
        with pytest.raises(NotFound):
            await seen("another", hash)
    with pytest.raises(NotFound):
        await seen("acme", hash)


async def test_an_unknown_hash_is_the_meshs_own_error() -> None:
    with pytest.raises(NotFound) as error:
        await read(image(hash=HASH))
    assert error.value.reason == "MEDIA_NOT_FOUND"


async def test_a_store_that_is_away_is_not_taken_for_a_wrong_picture() -> None:
    class Away:
        async def read(self, tenant_id: str, hash: str) -> bytes:
            raise Unavailable("the store cannot be reached")

        def take_base64(self, tenant_id: str, hash: str) -> str:
            return ""

    reader = MediaReader(Away(), MediaSettings())
    messages = [Message(role=ROLE_USER, parts=[image(hash=HASH), image(data=JPEG)])]
    with pytest.raises(Unavailable, match="the store cannot be reached"):
        await reader.contents(messages, reads_urls=(), tenant_id="acme")


async def test_the_type_of_the_bytes_is_told_if_the_caller_declared_none() -> None:
    picture, sound, document = image(data=JPEG), Part(audio=Media(data=WAV)), file(data=PDF)
    contents = await read(picture, sound, document)
    assert contents.media_type(picture.image) == "image/jpeg"
    assert contents.media_type(sound.audio) == "audio/wav"
    assert contents.media_type(document.file) == "application/pdf"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            image(data=JPEG, media_type="image/png"),
            "the picture is declared as image/png, but its bytes are image/jpeg",
        ),
        (image(data=b"hello", name="cat.png"), "the picture (`cat.png`) is text, not a picture"),
        (image(data=PNG[:-20]), "the picture is cut off: its end is missing"),
        (image(data=PNG[:16] + bytes(8) + PNG[24:]), "the picture has no pixels: its size is 0 x 0"),
        (Part(audio=Media(data=PNG)), "the sound is image/png, which is not a sound"),
        (file(data=PNG, media_type="application/pdf"), "the document is declared as application/pdf"),
    ],
)
async def test_bytes_that_are_not_what_they_should_be_are_refused(part: Part, said: str) -> None:
    reason, message = await refused(part)
    assert reason == "MEDIA_INVALID"
    assert said in message


async def test_one_of_several_pictures_is_named_by_its_place() -> None:
    _, message = await refused(image(data=PNG), file(data=PDF), image(data=b"hello"))
    assert message == "picture 2 is text, not a picture"


async def test_the_same_bytes_are_checked_for_each_kind_that_the_request_has_them_as() -> None:
    assert (await refused(file(data=PDF), image(data=PDF)))[0] == "MEDIA_INVALID"


async def test_all_contents_together_have_a_limit() -> None:
    at = 1024
    twice = [file(data=b"a" * 512), file(data=b"a" * 512)]
    contents = await read(*twice, limit_bytes=at)
    assert contents.data(twice[0].file) == b"a" * 512
    for parts in ([*twice, file(data=b"b")], [file(data=b"a" * 1025)]):
        reason, message = await refused(*parts, limit_bytes=at)
        assert (reason, "larger than 1024 bytes together" in message) == ("MEDIA_TOO_LARGE", True)
    async with serving(a=ok(b"a" * 600)) as web:
        part = file(url=web.url("/a"))
        await read(part, limit_bytes=at)
        for parts in ([part, file(data=b"b" * 512)], [part, part]):
            assert (await refused(*parts, limit_bytes=at))[0] == "MEDIA_TOO_LARGE"


async def test_forty_megabytes_are_refused() -> None:
    assert (await refused(file(data=bytes(40 * LARGE))))[0] == "MEDIA_TOO_LARGE"


async def test_a_url_that_the_provider_reads_is_not_read_here() -> None:
    part = image(url="https://pictures.example/a.png?signature=s", media_type="image/png")
    contents = await read(part, reads_urls=IMAGES)
    assert contents.url(part.image) == "https://pictures.example/a.png?signature=s"
    assert contents.media_type(part.image) == "image/png"


@pytest.mark.parametrize("reads_urls", [NONE, IMAGES])
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a", "http://169.254.169.254/latest/meta-data", "http://localhost/a", "http://[::1]/a"]
)
async def test_no_private_address_is_read_or_given_to_a_provider(reads_urls: Collection[Kind], url: str) -> None:
    reason, message = await refused(image(url=url), reads_urls=reads_urls, trusted_hosts=())
    assert reason == "MEDIA_UNREACHABLE"
    assert message == f"the picture at {url} cannot be read: its address is not in the public internet"


async def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    reason, message = await refused(image(url="https://me:secret@pictures.example/a"), reads_urls=IMAGES)
    assert (reason, message) == ("MEDIA_UNREACHABLE", "the picture cannot be read: the URL holds a user or a password")
    reason, message = await refused(image(url="http://[secret"), reads_urls=IMAGES)
    assert reason == "MEDIA_UNREACHABLE"
    assert "secret" not in message


async def test_a_url_is_read_here_for_a_provider_that_does_not() -> None:
    async with serving(picture=ok(PNG, "image/png"), paper=ok(PDF, "text/plain")) as web:
        picture, paper = image(url=web.url("/picture")), file(url=web.url("/paper"))
        contents = await read(picture, paper)
    assert (contents.url(picture.image), contents.data(picture.image)) == (None, PNG)
    assert contents.media_type(picture.image) == "image/png"
    assert contents.media_type(paper.file) == "application/pdf"


@pytest.mark.parametrize(
    ("path", "reads"), [("/a.pdf", True), ("/a", True), ("/a.csv", False), ("/a.txt?b=c.pdf", False)]
)
async def test_a_document_that_is_no_pdf_is_read_here_because_no_provider_does(path: str, reads: bool) -> None:
    async with serving() as web:
        web.answers[path] = ok(b"a,b", "text/plain")
        part = file(url=web.url(path))
        contents = await read(part, reads_urls=FILES)
    assert (contents.url(part.file) is not None) == reads
    assert len(web.heads) == (0 if reads else 1)


async def test_a_url_that_must_be_read_for_one_kind_is_sent_as_bytes_for_all() -> None:
    async with serving(a=ok(PNG)) as web:
        picture, document = image(url=web.url("/a")), file(url=web.url("/a"))
        contents = await read(picture, document, reads_urls=IMAGES)
    assert contents.url(picture.image) is None
    assert contents.data_url(picture.image) == contents.data_url(document.file)


async def test_equal_urls_are_read_once_and_each_use_is_checked() -> None:
    async with serving(a=ok(PNG)) as web:
        parts = [image(url=web.url("/a")), image(url=web.url("/a"), media_type="image/png"), file(url=web.url("/a"))]
        contents = await read(*parts, parts[0])
        assert [contents.data(each) for each in (parts[0].image, parts[1].image, parts[2].file)] == [PNG] * 3
        assert web.paths == ["/a"]
        reason, _ = await refused(parts[0], image(url=web.url("/a"), media_type="image/jpeg"))
    assert reason == "MEDIA_INVALID"


async def test_four_addresses_are_read_at_a_time() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(ok(PNG))

    async with serving() as web:
        web.answers = {f"/{n}": answer for n in range(12)}
        await read(*(image(url=web.url(f"/{n}")) for n in range(12)))
    assert len(web.heads) == 12
    assert web.most_open <= 4


async def test_more_than_twenty_addresses_are_refused_before_any_is_read() -> None:
    async with serving() as web:
        web.answers = {f"/{n}": ok(PNG) for n in range(21)}
        parts = [image(url=web.url(f"/{n}")) for n in range(21)]
        reason, message = await refused(*parts)
        assert (reason, web.heads) == ("MEDIA_TOO_LARGE", [])
        assert "has 21 addresses" in message
        await read(*parts[:20], parts[0])
        assert len(web.heads) == 20
        await read(*parts, reads_urls=IMAGES)
    assert len(web.heads) == 20


async def test_one_failure_ends_the_reading_of_the_others() -> None:
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    # The server waits until nothing is connected.
    async with asyncio.timeout(3), serving(hang=hang, gone=gone) as web:
        reason, message = await refused(image(url=web.url("/hang")), image(url=web.url("/gone")))
    assert reason == "MEDIA_UNREACHABLE"
    assert message == f"picture 2 at {web.url('/gone')} cannot be read: its server answers with status 404"


async def test_the_query_of_a_url_is_not_repeated() -> None:
    async with serving() as web:
        web.answers["/a?key=secret"] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        _, message = await refused(image(url=web.url("/a?key=secret")))
    assert "secret" not in message


async def test_a_file_of_the_provider_has_no_bytes() -> None:
    part = file(file_id="file-1", name="paper.pdf")
    contents = await read(part)
    assert contents.url(part.file) is None
    with pytest.raises(InvalidArgument, match=r"the file `paper\.pdf` has an id of a provider's file") as error:
        contents.base64(part.file)
    assert error.value.reason == "MEDIA_INVALID"


async def test_the_text_of_a_document() -> None:
    texts = {"utf-8": "a \u20ac", "utf-8-sig": "b", "utf-16": "c \u20ac"}
    parts = {coding: file(data=text.encode(coding), media_type="text/plain") for coding, text in texts.items()}
    latin = file(data="\u00e9".encode("latin-1"), media_type="text/plain", name="x.txt")
    contents = await read(*parts.values(), latin)
    assert {coding: contents.text(part.file) for coding, part in parts.items()} == texts
    with pytest.raises(InvalidArgument, match=r"the document `x\.txt` is not text in UTF-8"):
        contents.text(latin.file)


async def test_others_run_between_the_pieces_of_a_large_content() -> None:
    data = os.urandom(24 * LARGE)
    part = file(hash=hashlib.sha256(data).hexdigest(), media_type="application/octet-stream")
    turns, running = 0, True

    async def others() -> None:
        nonlocal turns
        while running:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(others())
    contents = await read(part, kept=Kept(data))
    # No more turns come from the coding: it is done.
    turned = turns
    assert contents.base64(part.file) == binascii.b2a_base64(data, newline=False).decode()
    running = False
    await counting
    # A piece is 768 KiB.
    assert turned >= 32
