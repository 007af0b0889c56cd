"""The parts of a stack: how each is started, probed and stopped."""
