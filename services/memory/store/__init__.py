"""Memory in Postgres: facts, conversations, and the passages that searches find. Every statement names a tenant."""
