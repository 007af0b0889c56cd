"""Chooses the newest turns that fit a number of tokens, without tearing a tool call from its results."""

from collections.abc import Sequence
from dataclasses import dataclass

# What a message costs beside its text, and how many bytes of text are a token: OpenAI's rule of thumb for its own
# tokenizers (four characters of English). Bytes rather than characters, because other scripts take more tokens.
MESSAGE_TOKENS = 4
BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """What the choice depends on.

    Attributes:
        calls: ids of the tool calls it asks for.
        answers: id of the tool call it answers; None unless it is a tool's result.
    """

    sequence: int
    tokens: int
    calls: frozenset[str] = frozenset()
    answers: str | None = None


def estimate(*texts: str) -> int:
    """About how many tokens a message of these texts costs a model."""
    size = sum(len(text.encode()) for text in texts)
    return MESSAGE_TOKENS + -(-size // BYTES_A_TOKEN)


def newest(turns: Sequence[Turn], budget: int) -> list[Turn]:
    """The newest of `turns` (given and returned oldest first) that a model can be sent and that fit `budget` together.

    A request for tool calls and their results stay together or go together. Results without their request, and
    requests that were passed over unanswered, are left out, because model servers refuse them; the newest request may
    still wait.
    """
    kept: list[Turn] = []
    blocks = _blocks(turns)
    for position, block in reversed(list(enumerate(blocks))):
        if not _sendable(block, last=position == len(blocks) - 1):
            continue
        budget -= sum(turn.tokens for turn in block)
        if budget < 0:
            break
        kept = [*block, *kept]
    return kept


def _blocks(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Turns that belong together: a request for tool calls with the results right behind it, any other turn alone."""
    blocks: list[list[Turn]] = []
    for turn in turns:
        if turn.answers is not None and blocks and turn.answers in blocks[-1][0].calls:
            blocks[-1].append(turn)
        else:
            blocks.append([turn])
    return blocks


def _sendable(block: Sequence[Turn], *, last: bool) -> bool:
    first, *results = block
    if first.answers is not None:
        return False
    return last or first.calls <= {turn.answers for turn in results}
