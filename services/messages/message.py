"""Reads a message whose content may be in parts."""

from collections.abc import Iterable, Iterator, Sequence

from soma.model.v1.message_pb2 import Media, Message, Part, Reasoning


def texts_of(message: Message) -> list[str]:
    """The texts of a message in their order: its content, if any, and its text parts. Thoughts are not texts."""
    if not message.parts:
        return [message.content] if message.content else []
    texts = [part.text.text for part in message.parts if part.WhichOneof("part") == "text"]
    return [message.content, *texts] if message.content else texts


def text_of(message: Message) -> str:
    """All texts of a message, one after the other."""
    return "".join(texts_of(message)) if message.parts else message.content


def with_texts(message: Message, texts: Sequence[str]) -> Message:
    """The message with other texts, one for each of `texts_of`; it is copied only if a text is different."""
    before = texts_of(message)
    if list(texts) == before:
        return message
    changed = Message()
    changed.CopyFrom(message)
    left = iter(texts)
    if changed.content:
        changed.content = next(left)
    for part in changed.parts:
        if part.WhichOneof("part") == "text":
            text = next(left)
            if text != part.text.text:
                # The citations belong to the text that was there.
                part.text.ClearField("citations")
                part.text.text = text
    return changed


def media_of(messages: Iterable[Message]) -> Iterator[Media]:
    """The pictures, sounds and documents of messages."""
    for message in messages:
        for part in message.parts:
            if (media := _media(part)) is not None:
                yield media


def thoughts_of(message: Message) -> list[Reasoning]:
    """The thoughts of a message."""
    return [part.reasoning for part in message.parts if part.WhichOneof("part") == "reasoning"]


def _media(part: Part) -> Media | None:
    match part.WhichOneof("part"):
        case "image":
            return part.image
        case "audio":
            return part.audio
        case "file":
            return part.file
        case _:
            return None
