"""An embedder for tests that ask nothing of meaning: texts are alike as far as they share words."""

import zlib
from collections.abc import Sequence

import numpy as np

from services.model.adapters.extract.language import terms
from services.model.embedding.embedder import Embeddings


class WordsEmbedder:
    """An Embedder; each word has a direction of its own."""

    model = "somasuite-embed-v1"
    dimensions = 384

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See Embedder."""
        raw = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            raw[row, 0] = 0.1
            for term in terms(text):
                raw[row, zlib.crc32(term.encode()) % self.dimensions] += 1.0
        norms = np.linalg.norm(raw, axis=1).astype(np.float32)
        tokens = np.array([len(text.split()) + 2 for text in texts], dtype=np.int32)
        return Embeddings(raw / norms[:, None], norms, tokens)
