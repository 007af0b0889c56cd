"""The edge: protocols of others over plain HTTP, in front of the mesh's own contracts; each has a folder of its own."""
