"""The remote channel: a gRPC channel over a socket, with the guarantees of the local one."""
