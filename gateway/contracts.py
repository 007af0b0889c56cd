"""The proto services the gateway offers to clients, read from the packaged descriptor set."""

from functools import cache
from importlib.resources import files

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from soma.authz.v1 import authz_pb2

TESTING = "soma.testing."
"""Packages of services for tests and benchmarks. The gateway offers such a service only while an instance serves it."""

MESH = "mesh"
"""The area of the public services that every serve process has."""


@cache
def descriptor_set() -> bytes:
    """Every contract with its imports, as a serialised `google.protobuf.FileDescriptorSet`."""
    return files("soma").joinpath("descriptors.binpb").read_bytes()


@cache
def public_services() -> tuple[str, ...]:
    """Full names of the services with at least one RPC that is not internal, sorted."""
    names: list[str] = []
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            rules = [method.options.Extensions[authz_pb2.rule] for method in service.method]
            offered = any(rule.WhichOneof("access") in ("scope", "open") for rule in rules)
            if offered and not name.startswith(TESTING):
                names.append(name)
    return tuple(sorted(names))


def pool() -> DescriptorPool:
    """The descriptors of every contract and of the health service, for server reflection."""
    described = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file:
        described.Add(file)
    described.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    return described


def area(service: str) -> str:
    """The mesh service that serves a proto service: the second part of its name, `soma.<area>.v1.<Service>`."""
    return service.split(".")[1]
