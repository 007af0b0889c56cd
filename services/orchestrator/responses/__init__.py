"""Responses: answers that are stored, and that can be read again, cancelled and continued."""
