"""Postgres and Redis of a process: pools, clients, migrations, group commit, full disks."""
