"""OpenAI's API over the mesh's own contracts."""
