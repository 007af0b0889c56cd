"""What a process does beside its calls: hosting, jobs, registry, health, shutdown, logs, sources of settings."""
