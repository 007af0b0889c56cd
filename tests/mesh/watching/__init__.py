"""Tests of what is followed from a place on."""
