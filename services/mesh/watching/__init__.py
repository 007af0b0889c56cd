"""Follows append-only sequences from a position on, without polling.

A sequence is kept in Postgres rows (`rows`) or in a Redis Stream (`streams`). A reader has a `Watch` of either, and
reads it with `follow`.
"""
