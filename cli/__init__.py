"""The `soma` command, whose processes start other programs."""

import os

# gRPC reads this variable when it is imported, so it is set first. gRPC's fork handlers are useless for a child that
# becomes another program, and they crash one child in ten before it does.
os.putenv("GRPC_ENABLE_FORK_SUPPORT", "0")
