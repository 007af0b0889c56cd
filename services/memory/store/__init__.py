"""Postgres behind memory: facts, conversations, and the passages both are found by. Every statement names a tenant."""
