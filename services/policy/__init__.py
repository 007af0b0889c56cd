"""Decides by a file of rules whether an action is allowed: soma.policy.v1."""
