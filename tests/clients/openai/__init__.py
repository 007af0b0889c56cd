"""Clients of OpenAI's API, unmodified, against a stack."""
