"""What a channel of the mesh lets through: the same on sockets and on a strict local channel."""

# gRPC's own default for received messages, both ways.
MESSAGE_BYTES = 4 * 1024 * 1024
# Headers and trailers. gRPC refuses from 8 KiB on at random and from 16 KiB always; error details need more room.
METADATA_BYTES = 32 * 1024
