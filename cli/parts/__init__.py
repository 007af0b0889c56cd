"""The parts a stack is made of: how each is started, asked whether it serves, and stopped."""
