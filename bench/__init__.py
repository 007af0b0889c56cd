"""Measures this product beside its peers and limits; `python -m bench` prints one table."""
