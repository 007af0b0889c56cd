"""An embedder for tests that need no meaning: texts are similar if they have common words."""

import zlib
from collections.abc import Sequence

import numpy as np

from services.model.adapters.extract.language import terms
from services.model.embedding.embedder import Embeddings


class WordsEmbedder:
    """An Embedder in which each word has its own direction."""

    model = "somasuite-embed-v1"
    dimensions = 384

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        raw = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            raw[row, 0] = 0.1
            for term in terms(text):
                raw[row, zlib.crc32(term.encode()) % self.dimensions] += 1.0
        norms = np.linalg.norm(raw, axis=1).astype(np.float32)
        tokens = np.array([len(text.split()) + 2 for text in texts], dtype=np.int32)
        return Embeddings(raw / norms[:, None], norms, tokens)
