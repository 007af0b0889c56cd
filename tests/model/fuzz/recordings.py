"""Answers of vendors' servers as they document them: streams of events (`.sse`), and answers in one piece (`.json`)."""

import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "recordings"


@dataclass(frozen=True)
class Recording:
    """One answer.

    Attributes:
        frames: the events, each with the blank line after it; an answer in one piece has one frame.
    """

    name: str
    whole: bool
    frames: tuple[bytes, ...]

    @property
    def protocol(self) -> str:
        """Whose protocol it is."""
        return "anthropic" if self.name.startswith("anthropic") else "openai"

    def __str__(self) -> str:
        return self.name


def frames_of(body: bytes, whole: bool) -> tuple[bytes, ...]:
    """The events in these bytes, each with the blank line after it."""
    return (body,) if whole else tuple(re.findall(rb".+?\n\n|.+$", body, re.DOTALL))


def _read(path: Path) -> Recording:
    body = path.read_bytes()
    whole = path.suffix == ".json"
    return Recording(path.name, whole, frames_of(body, whole))


RECORDINGS = [_read(path) for path in sorted(_FOLDER.iterdir())]
