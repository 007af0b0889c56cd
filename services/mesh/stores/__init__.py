"""Postgres and Redis of a process: pools, clients, migrations, leases, group commit, full disks."""
