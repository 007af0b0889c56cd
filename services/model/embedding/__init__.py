"""Embeddings: MiniLM on ONNX Runtime, in batches across callers."""

from services.model.embedding.embedder import Embedder, Embeddings

__all__ = ["Embedder", "Embeddings"]
