"""A log is followed while it grows and is rotated."""

from pathlib import Path

from cli.log_reader import LogReader


def test_lines_written_after_the_last_lines_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("1\n2\n3\n")
    reader = LogReader(path, "part ")
    assert reader.last(2) == ["part 2", "part 3"]
    assert reader.new() == []
    with path.open("a") as file:
        file.write("4\n")
    assert reader.new() == ["part 4"]
    assert reader.new() == []


def test_an_incomplete_line_is_read_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("")
    reader = LogReader(path, "")
    reader.last(1)
    with path.open("a") as file:
        file.write("hal")
        file.flush()
        assert reader.new() == []
        file.write("ves\n")
    assert reader.new() == ["halves"]


def test_reading_starts_over_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "part.log"
    path.write_text("a long line before the rotation\n")
    reader = LogReader(path, "")
    reader.last(1)
    path.write_text("after\n")
    assert reader.new() == ["after"]
