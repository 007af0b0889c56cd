"""The files that Envoy needs before it starts: its bootstrap and its secrets."""
