"""The pictures that a line of a conversation names."""

from pathlib import Path

import pytest
from soma.model.v1.message_pb2 import Media

from cli.pictures import Line, NotAPicture, described, read_line, read_picture, size_of
from tests.cli.test_chat import PNG


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("What is this?", Line("What is this?")),
        ("/image cat.png", Line(sources=("cat.png",))),
        ("  /image   cat.png  ", Line(sources=("cat.png",))),
        ("/image cat.png What is it?", Line("What is it?", sources=("cat.png",))),
        ("/image 'my cat.png' What's it?", Line("What's it?", sources=("my cat.png",))),
        (r"/image my\ cat.png Why?", Line("Why?", sources=("my cat.png",))),
        ("/image https://a.b/cat", Line(sources=("https://a.b/cat",))),
        ("/image", Line(clears=True)),
        ("/images are nice", Line("/images are nice")),
        ("Compare ./a.png and ~/b.jpg", Line("Compare ./a.png and ~/b.jpg", mentioned=("./a.png", "~/b.jpg"))),
        ("What's in /tmp/a.webp?", Line("What's in /tmp/a.webp?", mentioned=("/tmp/a.webp",))),
        ("It's 'a b' or '/tmp/a b.png'", Line("It's 'a b' or '/tmp/a b.png'", mentioned=("/tmp/a b.png",))),
        ("What's in /tmp/a.webp", Line("What's in /tmp/a.webp", mentioned=("/tmp/a.webp",))),
        (r"/data/my\ cat.png what", Line(r"/data/my\ cat.png what", mentioned=("/data/my cat.png",))),
        ("call it cat.png", Line("call it cat.png")),
        ("see https://a.b/cat.png", Line("see https://a.b/cat.png")),
        ("read ./notes.txt", Line("read ./notes.txt")),
    ],
)
def test_a_line_is_a_message_or_names_a_picture(line: str, found: Line) -> None:
    assert read_line(line) == found


def test_the_type_of_a_picture_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(PNG)
    assert read_picture(str(tmp_path / "cat.jpg")) == Media(data=PNG, media_type="image/png", name="cat.jpg")


def test_a_picture_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cat.png").write_bytes(PNG)
    assert described(read_picture("~/cat.png")) == f"cat.png, image/png, {len(PNG)} bytes"
    with pytest.raises(NotAPicture, match="No such file"):
        read_picture("~/dog.png")


@pytest.mark.parametrize(("count", "text"), [(999, "999 bytes"), (1_000, "1.0 kB"), (40_000_000, "40.0 MB")])
def test_a_size_is_said_for_people(count: int, text: str) -> None:
    assert size_of(count) == text
