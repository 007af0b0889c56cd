"""The remote channel: gRPC over a socket, with the guarantees of the local channel."""
