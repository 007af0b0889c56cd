"""Which methods of the services stream; the gateway routes them differently from unary ones."""

from collections.abc import Mapping

from google.protobuf.descriptor_pb2 import FileDescriptorSet

StreamingMethods = Mapping[str, Mapping[str, bool]]
"""The streaming methods of each service, by its full proto name; the value says whether the client streams too."""


def requests(descriptor_set: bytes) -> Mapping[str, Mapping[str, str]]:
    """The name of the request message of each method, by the service and the method.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no descriptor set.
    """
    return {
        f"{file.package}.{service.name}": {
            method.name: method.input_type.removeprefix(".") for method in service.method
        }
        for file in FileDescriptorSet.FromString(descriptor_set).file
        for service in file.service
    }


def streaming_methods(descriptor_set: bytes) -> StreamingMethods:
    """The streaming methods in a serialised `google.protobuf.FileDescriptorSet`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no descriptor set.
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
