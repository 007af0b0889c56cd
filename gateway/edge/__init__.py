"""The OpenAI-compatible edge: plain HTTP in front of the mesh's own contracts."""
