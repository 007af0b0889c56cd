"""What the scripted model says: its thoughts, texts and tool calls, for each question of a conversation."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """An answer of the model.

    Attributes:
        places: the arguments of its calls of the tool `look`.
    """

    thought: str
    text: str = ""
    places: Sequence[str] = ()


# The answers to a question, one after the other: all but the last call the tool, and the next one follows the results.
SCRIPT: Mapping[str, Sequence[Said]] = {
    "Turn one": (Said("I must look at Rome.", places=("Rome",)), Said("It is sunny.", "Rome: sun.")),
    "Turn two": (
        Said("Two places now.", "I look at both.", ("Oslo", "Zürich")),
        Said("One is cold.", "Oslo: snow. Zürich: fog."),
    ),
    "Turn three": (
        Said("First Paris.", places=("Paris",)),
        Said("Then its neighbour.", places=("Versailles",)),
        Said("", "Both: rain."),
    ),
    "No tool": (Said("I know this.", "Four.\n"),),
    "Turn four": (Said("“Quotes” and a \\ in it.\n\nTwo lines.", places=("Bad Aibling",)), Said("Done.", "Wind.")),
    "Turn five": (Said("The last one: 🌍.", places=("Lima",)), Said("All is known.", "Lima: clouds. 🌍")),
    "What is this?": (Said("I look at it.", "A pixel."),),
}
# The questions of a conversation with tools.
TURNS = ("Turn one", "Turn two", "Turn three")
# The question that comes with this picture, and its bytes: a PNG of one pixel.
SHOWING = "What is this?"
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def weather(place: str) -> str:
    """What the tool `look` returns."""
    return f"The weather of {place}."


def arguments(place: str) -> str:
    """The arguments of a call, as the model writes them."""
    return json.dumps({"place": place}, ensure_ascii=False)


def mark(*of: object, length: int = 12) -> str:
    """Letters and digits that are the same for the same values: for ids and signatures."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:length]
