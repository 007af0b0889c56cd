"""What every call passes through, one concern a file; `stack` in `mesh/stack.py` puts them in order."""
