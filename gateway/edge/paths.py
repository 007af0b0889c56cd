"""Paths the edge answers, in OpenAI's shapes; every other one is bound to an RPC, the gateway's own, or unknown."""

PREFIXES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/responses", "/ws")
"""Each stands for itself and what lies under it."""
