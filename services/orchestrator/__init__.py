"""Holds conversations: one chat turn through policy, memory and a model (soma.orchestrator.v1)."""
