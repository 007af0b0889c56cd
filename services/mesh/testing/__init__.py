"""What tests and benchmarks of the mesh share."""
