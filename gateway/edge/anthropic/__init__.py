"""Anthropic's Messages API over the mesh."""
