"""Tests of unmodified clients of OpenAI's API with a stack."""
