"""Clients of the neighbours: the policy, memory and model services."""
