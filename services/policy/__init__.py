"""Decides whether something may happen: soma.policy.v1 over a file of rules."""
