"""Keeps facts and conversations, and finds them again by key, by meaning or by their words."""
