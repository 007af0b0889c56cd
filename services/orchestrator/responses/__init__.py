"""Responses: turns whose answers are kept, read again, cancelled and gone on from."""
