"""Tests of sequences that are followed from a given place."""
