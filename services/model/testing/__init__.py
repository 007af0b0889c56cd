"""Real HTTP servers that stand in for the servers of model vendors, for tests and benchmarks."""
