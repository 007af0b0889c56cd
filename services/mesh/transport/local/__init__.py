"""The local channel: a generated stub calls a servicer of its own process, with the semantics of gRPC."""
