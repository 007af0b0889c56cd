"""Calls of a vendor's methods beside chat: sound, pictures, judging and sorting."""
