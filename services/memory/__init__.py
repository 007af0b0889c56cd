"""Keeps facts and conversations, and finds them by key, by meaning or by words."""
