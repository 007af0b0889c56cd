"""Unary calls as the gateway sends them: gRPC's messages, metadata and statuses over HTTP/1.1."""
