"""Measures this product and compares it with peers and limits; `python -m bench` prints one table."""

import os

# gRPC reads this variable when it is imported. Its fork handlers are useless for a child that becomes another program.
os.putenv("GRPC_ENABLE_FORK_SUPPORT", "0")
