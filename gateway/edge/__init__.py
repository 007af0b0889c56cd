"""The edge: other protocols over HTTP, translated to the mesh's own contracts; each has its own folder."""
