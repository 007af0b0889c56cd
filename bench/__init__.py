"""Measures this product beside its peers and limits; `python -m bench` prints one table."""

import os

# gRPC reads it while it is imported, and has nothing to do when a child is started and becomes another program.
os.putenv("GRPC_ENABLE_FORK_SUPPORT", "0")
