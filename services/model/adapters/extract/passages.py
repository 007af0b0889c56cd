"""The passages that `soma-extract-v1` may quote: sentences of the conversation and of sources, with their origin."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, ROLE_USER, Message, Source

from services.messages.message import texts_of
from services.model.adapters.extract.language import is_greeting, is_question, sentences
from services.model.adapters.extract.voice import is_own_voice

_TURN = re.compile(r"^conversation:(?P<id>.+)#(?P<turn>\d+)$")


@dataclass(frozen=True, slots=True)
class Passage:
    """A sentence that may answer a question.

    Attributes:
        text: the sentence, exactly as in its source.
        said_by: who said it and where, for people.
        key: key of its source; `messages#<n>` for message n of the request.
        weight: how much its origin is trusted, 0 to 1.
        order: later passages have larger numbers; of two with similar scores, the later one is preferred.
    """

    text: str
    said_by: str
    key: str
    weight: float
    order: int


def question_and_passages(messages: list[Message], sources: list[Source]) -> tuple[list[str], list[Passage]]:
    """The questions in the user's last message (may be empty), and all passages that may answer them.

    The application's instructions are never quoted, because they are not meant for the user.
    """
    last = max((n for n, message in enumerate(messages) if message.role == ROLE_USER), default=-1)
    asked: list[str] = []
    passages = list(_remembered(sources))
    for number, message in enumerate(messages):
        for sentence in _statements(message):
            if message.role == ROLE_USER and is_question(sentence):
                if number == last:
                    asked.append(sentence)
                continue
            if message.role == ROLE_USER:
                said_by, weight = ("you, just now" if number == last else "you, earlier in this conversation"), 1.0
            elif message.role == ROLE_TOOL:
                said_by, weight = f"the result of {message.name or 'a tool'}", 1.0
            else:
                said_by, weight = "me, earlier in this conversation", 0.8
            passages.append(Passage(sentence, said_by, f"messages#{number}", weight, len(passages)))
    return asked, passages


def _statements(message: Message) -> Iterator[str]:
    if message.role not in (ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL):
        return
    text = "\n".join(texts_of(message))
    if message.role == ROLE_ASSISTANT and is_own_voice(text):
        return
    for sentence in sentences(text):
        if not is_greeting(sentence):
            yield sentence


def _remembered(sources: list[Source]) -> Iterator[Passage]:
    # The request has the best source first. In reverse order, the best source gets the largest numbers.
    number = 0
    for source in reversed(sources):
        turn = _TURN.match(source.key)
        said_by = f"this conversation, turn {turn['turn']}" if turn else f"memory `{source.key}`"
        for sentence in sentences(source.text):
            if is_question(sentence) or is_greeting(sentence) or is_own_voice(sentence):
                continue
            yield Passage(sentence, said_by, source.key, 1.0, number)
            number += 1
