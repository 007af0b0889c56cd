"""What a process does beside its calls: jobs, leases, registry, health, shutdown, logs, sources of settings."""
