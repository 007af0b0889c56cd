"""Vectors of texts: MiniLM on ONNX Runtime, batched across callers."""

from services.model.embedding.embedder import Embedder, Embeddings

__all__ = ["Embedder", "Embeddings"]
