"""Envoy as a part of the stack: what it needs on disk before it starts."""
