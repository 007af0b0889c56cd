"""The orchestrator: chat turns, sessions, responses and the logs of both (soma.orchestrator.v1)."""
