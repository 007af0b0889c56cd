"""What every call passes through, one concern a file; `services/mesh/call/stack.py` has their order."""
