"""Rate limits: how many requests a key and its tenant may make in a minute, over all processes together."""
