"""Chooses the newest turns that fit into a number of tokens; a tool call and its results stay together."""

from collections.abc import Sequence
from dataclasses import dataclass

# What a message costs beside its text, and how many bytes of text are a token: OpenAI's rule of thumb for its own
# tokenizers (four characters of English). Bytes rather than characters, because other scripts take more tokens.
MESSAGE_TOKENS = 4
BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """The properties of a turn that the choice depends on.

    Attributes:
        calls: ids of the tool calls that the turn asks for.
        answers: id of the tool call that the turn answers; None unless it is the result of a tool.
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
    """The newest of `turns` (given and returned oldest first) that a model accepts and that fit `budget` together.

    A request for tool calls and its results are chosen or left out together. Results without their request are left
    out, because model servers refuse them, and so are requests without results, except that the newest request may
    still wait for them.
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
