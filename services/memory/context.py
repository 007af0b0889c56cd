"""Makes the context of a model's next turn: the newest turns, and facts and older turns that match the message."""

from collections.abc import Sequence
from dataclasses import dataclass

from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1 import message_pb2

from services.memory.question import Found, Question
from services.memory.search import Search
from services.memory.store.conversations import ConversationStore
from services.memory.store.facts import FactStore
from services.memory.window import Turn, estimate, newest

TOKEN_BUDGET = 2000
# More would not fit into a response; four bytes are a token.
_MOST_TOKENS = 700_000
# If something is found, the newest turns leave one part in this many of the budget to it.
_FOUND_SHARE = 4
# A cosine of 0.22. Of twenty questions asked of MiniLM in `tests/memory/test_recall.py`, 19 have a cosine of 0.23 or
# more with the fact that answers them; of unrelated pairs, 19 in 20 have less.
LEAST_SCORE = 0.61
# In a search by words, a result needs a third of the words of the message.
LEAST_SHARE = 1 / 3
MOST_FOUND = 8


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The end of a conversation: its messages, and its turns for the choice of a window, the oldest first."""

    messages: dict[int, pb.ConversationMessage]
    turns: list[Turn]
    length: int


class Contexts:
    """Makes contexts; they are `degraded` if the search was by words."""

    def __init__(self, conversations: ConversationStore, facts: FactStore, search: Search) -> None:
        self._conversations = conversations
        self._facts = facts
        self._search = search

    async def make(self, tenant_id: str, request: pb.GetContextRequest) -> pb.GetContextResponse:
        """The context. An unknown conversation has no turns."""
        budget = min(request.token_budget if request.HasField("token_budget") else TOKEN_BUDGET, _MOST_TOKENS)
        strategy = request.strategy or pb.STRATEGY_HYBRID
        conversation = _Conversation({}, [], 0)
        if request.conversation_id and strategy != pb.STRATEGY_LONG_ONLY:
            conversation = await self._read(tenant_id, request.conversation_id, budget)
        window = newest(conversation.turns, budget)
        found: list[Found] = []
        crowded = degraded = False
        if request.current_message.strip() and strategy != pb.STRATEGY_SHORT_ONLY:
            narrow = newest(conversation.turns, budget - budget // _FOUND_SHARE)
            before = _begin(narrow, conversation)
            # An embedding takes time, so there is none if there is nothing to find.
            if before > 1 or await self._facts.any(tenant_id):
                question = await self._search.question(tenant_id, request.current_message)
                degraded = question.degraded
                ranked = await self._find(tenant_id, request.conversation_id, question, before)
                found = _fitting(ranked, budget - _sum(narrow))
                crowded = len(found) < len(ranked)
                window = newest(conversation.turns, budget - sum(_cost(one) for one in found))
                found = [one for one in found if one.sequence is None or one.sequence < _begin(window, conversation)]
        return pb.GetContextResponse(
            recent_messages=[conversation.messages[turn.sequence] for turn in window],
            relevant_documents=[
                message_pb2.Source(key=one.source, text=one.passage.whole, score=one.score) for one in found
            ],
            token_count=_sum(window) + sum(_cost(one) for one in found),
            truncated=crowded or _begin(window, conversation) > 1,
            degraded=degraded,
        )

    async def _find(self, tenant_id: str, conversation_id: str, question: Question, before: int) -> list[Found]:
        """Facts, and turns older than `before`, best first."""
        least = LEAST_SHARE if question.degraded else LEAST_SCORE
        found = await self._search.facts(tenant_id, question, least, MOST_FOUND)
        if before > 1:
            found += await self._search.turns(tenant_id, conversation_id, question, before, least, MOST_FOUND)
        return sorted(found, key=lambda one: one.score, reverse=True)[:MOST_FOUND]

    async def _read(self, tenant_id: str, conversation_id: str, budget: int) -> _Conversation:
        stored = await self._conversations.newest(tenant_id, conversation_id, budget)
        return _Conversation(
            {message.sequence: message for message, _ in stored},
            [_turn(message, tokens) for message, tokens in stored],
            stored[-1][0].sequence if stored else 0,
        )


def _turn(message: pb.ConversationMessage, tokens: int) -> Turn:
    said = message.message
    answers = said.tool_call_id if said.role == message_pb2.ROLE_TOOL else None
    return Turn(message.sequence, tokens, frozenset(call.call_id for call in said.tool_calls), answers)


def _begin(window: Sequence[Turn], conversation: _Conversation) -> int:
    """The sequence at which a window begins; if it is empty, the one after the last turn."""
    return window[0].sequence if window else conversation.length + 1


def _fitting(ranked: Sequence[Found], budget: int) -> list[Found]:
    """The best results that fit the budget together; a result that is too long is left out."""
    fitting: list[Found] = []
    for one in ranked:
        if _cost(one) <= budget:
            budget -= _cost(one)
            fitting.append(one)
    return fitting


def _cost(found: Found) -> int:
    return estimate(found.passage.whole)


def _sum(turns: Sequence[Turn]) -> int:
    return sum(turn.tokens for turn in turns)
