"""A kit to test services of a mesh: real stores, scripted upstreams, an echo on every transport."""
