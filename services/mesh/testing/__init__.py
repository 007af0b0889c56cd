"""A kit to test services of a mesh: the real service among chosen neighbours, and an echo on every transport."""
