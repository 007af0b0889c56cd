"""Following what is appended to, from a place on, without asking again and again.

A sequence is append-only and read from a place on. It is kept in Postgres rows (`rows`) or in a Redis Stream
(`streams`); whoever follows one holds a `Watch` of either and reads it with `follow`.
"""
