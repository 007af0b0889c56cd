"""Scripted vendors of models, as strict as the real ones, behind a stack that clients talk to."""
