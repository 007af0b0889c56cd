"""What the gateway needs to know of the contracts: which services are described, and which methods stream."""

from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet


@dataclass(frozen=True)
class Contracts:
    """Services of a descriptor set, each with the names of its streaming methods."""

    streaming: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, descriptor_set: bytes) -> "Contracts":
        """Read a serialised `FileDescriptorSet`.

        Raises:
            google.protobuf.message.DecodeError: the bytes are no descriptor set.
        """
        streaming = {}
        for file in FileDescriptorSet.FromString(descriptor_set).file:
            for service in file.service:
                name = f"{file.package}.{service.name}" if file.package else service.name
                streaming[name] = tuple(
                    method.name for method in service.method if method.client_streaming or method.server_streaming
                )
        return cls(streaming)


def area(service: str) -> str:
    """Short name people know a service by: `soma.memory.v1.MemoryService` is `memory`."""
    parts = service.split(".")
    return parts[1] if len(parts) > 2 else service
