"""Shared by services: the parts of a message, and how an answer is joined from its pieces."""
