"""Surfaces: the protocols over HTTP that a service declares beside its contract, and its instances announce."""
