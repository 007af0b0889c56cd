"""Finds facts and older turns: by meaning, or by words while the model service gives no vectors."""

import re
from collections.abc import Sequence

import structlog

from services.memory.embedder import Embedder, cosine, embed_query
from services.memory.passages import Json, sentences
from services.memory.question import Found, Question
from services.memory.store.conversations import ConversationStore
from services.memory.store.facts import FactStore
from services.mesh.call import errors

log = structlog.get_logger("memory")

_WORD = re.compile(r"\w+")


class Search:
    """Searches the stores; each question belongs to one tenant."""

    def __init__(self, facts: FactStore, conversations: ConversationStore, embedder: Embedder) -> None:
        self._facts = facts
        self._conversations = conversations
        self._embedder = embedder

    async def question(self, tenant_id: str, text: str) -> Question:
        """The text with its vector, or without one while the model service gives none."""
        try:
            return Question(text, await embed_query(self._embedder, tenant_id, text))
        except errors.MeshError as error:
            log.warning("search by words", reason=error.reason, error=error.message)
            return Question(text, None)

    async def facts(
        self, tenant_id: str, question: Question, least: float, limit: int, facets: Json = None
    ) -> list[Found]:
        """At most `limit` facts that score `least` or better, best first."""
        found = await self._facts.find(tenant_id, question, facets or {}, limit)
        return [fact for fact in found if fact.score >= least]

    async def turns(
        self, tenant_id: str, conversation_id: str, question: Question, before: int, least: float, limit: int
    ) -> list[Found]:
        """At most `limit` turns older than `before` that score `least` or better, best first."""
        found = await self._conversations.find(tenant_id, conversation_id, question, before, limit)
        return [turn for turn in found if turn.score >= least]

    async def answer(self, tenant_id: str, question: Question, found: Sequence[Found]) -> str:
        """The sentence of the best passage that answers best; empty when nothing was found."""
        if not found:
            return ""
        said = sentences(found[0].passage.text)
        if len(said) < 2:
            return said[0] if said else found[0].passage.whole
        if question.vector is not None:
            try:
                vectors = await self._embedder.embed(tenant_id, said)
            except errors.MeshError as error:
                log.warning("answer by words", reason=error.reason, error=error.message)
            else:
                cosines = [cosine(question.vector, vector) for vector in vectors]
                return said[cosines.index(max(cosines))]
        asked = _words(question.text)
        return max(said, key=lambda sentence: len(asked & _words(sentence)))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
