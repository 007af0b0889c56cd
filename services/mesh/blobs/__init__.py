"""Bytes of pictures, sounds and documents, kept once per tenant by their hash."""
