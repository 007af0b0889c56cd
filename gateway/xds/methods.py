"""What the gateway needs to know of the described services: which of their methods stream."""

from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import FileDescriptorSet

StreamingMethods = Mapping[str, Mapping[str, bool]]
"""The streaming methods of each described service, by its full proto name, and of each whether clients stream too."""


def streaming_methods(descriptor_set: bytes) -> StreamingMethods:
    """Read a serialised `google.protobuf.FileDescriptorSet`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """
    return {
        f"{file.package}.{service.name}": {
            method.name: method.client_streaming
            for method in service.method
            if method.client_streaming or method.server_streaming
        }
        for file in FileDescriptorSet.FromString(descriptor_set).file
        for service in file.service
    }
