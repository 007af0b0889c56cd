"""What a client asks for with one request: the turns that answer it, and the form of the answer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from soma.model.v1.message_pb2 import Delta, Usage
from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer, ChatRequest

from gateway.edge.media import Inline
from gateway.edge.openai.choices import requests
from gateway.edge.openai.extension import NOTHING, Extension


class Chunks(Protocol):
    """Makes the server-sent events of one streamed answer."""

    def first(self, index: int) -> bytes:
        """The chunk before the first piece of a choice; may be empty."""
        ...

    def delta(self, index: int, delta: Delta) -> bytes:
        """A piece of a choice; may be empty."""
        ...

    def last(self, index: int, finish_reason: int, extension: Mapping[str, Any] | None) -> bytes:
        """The last chunk of a choice, which has its finish reason."""
        ...

    def usage(self, usage: Usage) -> bytes:
        """The chunk with the usage, which has no choices."""
        ...


class Form(Protocol):
    """The shapes of an answer. An `identity` is its `id`, `created` and `model`."""

    @property
    def prefix(self) -> str:
        """The beginning of its id."""
        ...

    def choice(self, index: int, answer: ChatAnswer) -> dict[str, Any]:
        """One choice of an answer in one piece."""
        ...

    def whole(
        self,
        identity: Mapping[str, Any],
        choices: Sequence[Mapping[str, Any]],
        usage: Usage,
        extension: Mapping[str, Any] | None,
    ) -> bytes:
        """The object of an answer in one piece."""
        ...

    def chunks(self, identity: Mapping[str, Any], choices: int, include_usage: bool) -> Chunks:
        """The chunks of a streamed answer with this number of choices."""
        ...


@dataclass(slots=True)
class Ask(ABC):
    """The content of a client's request.

    Attributes:
        request: the turn; with several prompts, that of the first.
        each: number of choices for each prompt.
        inline: the bytes that the request has in itself; they have to be held before the turn is asked for.
    """

    request: ChatRequest = field(default_factory=ChatRequest)
    stream: bool = False
    include_usage: bool = False
    each: int = 1
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)
    inline: list[Inline] = field(default_factory=list)

    @property
    @abstractmethod
    def form(self) -> Form:
        """The form of the answer."""

    @property
    def choices(self) -> int:
        """Number of choices in all."""
        return self.each

    def turns(self) -> list[ChatRequest]:
        """The turn of each choice."""
        return requests(self.request, self.each)
