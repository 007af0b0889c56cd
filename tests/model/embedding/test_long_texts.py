"""Texts that are too long for the model are read completely, in windows, and the vectors are averaged."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from services.model.embedding.architecture import MAX_TOKENS
from services.model.embedding.artifact import Artifact, Precision
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
from services.model.embedding.tokenizer import WordPieces

TALE = "The tortoise and the hare ran a race, and unexpectedly the tortoise won it. "
LONG = TALE * 40


@pytest.fixture
async def embedder(artifact_of: Callable[[Precision], Artifact], directory: Path) -> AsyncIterator[MiniLm]:
    artifact_of("int8")
    embedder = MiniLm(EmbeddingSettings(directory=directory))
    yield embedder
    await embedder.close()


@pytest.fixture
def pieces(artifact_of: Callable[[Precision], Artifact]) -> WordPieces:
    return WordPieces(artifact_of("int8").tokenizer)


@pytest.mark.parametrize(
    "text", [LONG, "漢字" * 400, "a" * 3000, "é, ü! " * 500, "antidisestablishmentarianism " * 200, "🐢🐇 " * 300]
)
def test_windows_hold_the_whole_text_and_each_fits(pieces: WordPieces, text: str) -> None:
    windows = pieces.windows(text)
    rows = pieces.split(windows)
    assert all(len(row) <= MAX_TOKENS for row in rows)
    # The windows are cut between words, so together they have exactly the tokens of the whole text.
    whole = pieces._whole.encode(text, add_special_tokens=False).ids
    assert [token for row in rows for token in row[1:-1]] == whole
    assert len(windows) == 1 or sum(len(row) for row in rows[:-1]) > 0.8 * MAX_TOKENS * (len(rows) - 1)


@pytest.mark.parametrize("text", ["", " ", "short", "word " * 254])
def test_a_text_that_fits_is_one_window(pieces: WordPieces, text: str) -> None:
    (window,) = pieces.windows(text)
    assert window.strip() == text.strip()


async def test_the_end_of_a_long_text_counts(embedder: MiniLm) -> None:
    one, other = LONG + "Submarines dive deep below. " * 120, LONG + "Rice is cooked in water. " * 120
    found = await embedder.embed([one, "short", other])
    assert found.windows is not None
    assert [windows > 3 for windows in found.windows.tolist()] == [True, False, True]
    # The model alone would read only the beginning, which is the same in both texts.
    assert found.vectors[0] @ found.vectors[2] < 0.97
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1.0, atol=1e-5)
    near = await embedder.embed(["submarines", "cooked rice"])
    assert (near.vectors @ found.vectors[0])[0] > (near.vectors @ found.vectors[0])[1]


async def test_the_average_counts_each_window_by_its_tokens(embedder: MiniLm, pieces: WordPieces) -> None:
    found = await embedder.embed([LONG])
    windows = await embedder.embed(pieces.windows(LONG))
    weights = windows.tokens - 2
    raw = (weights[:, None] * windows.norms[:, None] * windows.vectors).sum(axis=0) / weights.sum()
    assert np.allclose(found.vectors[0] * found.norms[0], raw, atol=1e-4)
    assert found.tokens[0] == windows.tokens.sum()
    assert windows.windows is None or windows.windows.tolist() == [1] * len(windows.tokens)


async def test_short_texts_are_read_as_before(embedder: MiniLm) -> None:
    assert (await embedder.embed(["short", "another"])).windows is None
    exact = await embedder.embed(["word " * 254])
    assert exact.tokens.tolist() == [256]
    assert exact.windows is not None
    assert exact.windows.tolist() == [1]
