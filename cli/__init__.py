"""The `soma` command, whose processes start other programs."""

import os

# gRPC reads it while it is imported, so before anything else. Its handlers of `fork` have nothing to do for a child
# that becomes another program, and crash one in ten before it does.
os.putenv("GRPC_ENABLE_FORK_SUPPORT", "0")
