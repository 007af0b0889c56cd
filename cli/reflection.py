"""Reads the contracts of a server (grpc.reflection.v1), so that any method can be called without generated code."""

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from soma.errors.v1 import reasons

from services.mesh.call.errors import NotFound

# v1 has the same messages as v1alpha, which is the only version in grpcio-reflection.
METHOD = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class Reflection:
    """The contracts of one server; `pool` holds those that were fetched."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.pool = DescriptorPool()
        self._fetched: set[str] = set()
        self._ask = channel.stream_stream(
            METHOD,
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )

    async def services(self) -> Sequence[str]:
        """The full names of the services."""
        answer = await self._answer(pb.ServerReflectionRequest(list_services=""))
        return sorted(service.name for service in answer.list_services_response.service)

    async def method(self, name: str) -> MethodDescriptor:
        """The method `package.Service/Method`.

        A dot instead of the slash is accepted, and only the end of the service's name.

        Raises:
            NotFound: no method has this name, or more than one service has it.
        """
        service_name, _, method_name = name.strip("/").replace("/", ".").rpartition(".")
        served = await self.services()
        found = [full for full in served if full == service_name or full.endswith(f".{service_name}")]
        if len(found) != 1:
            known = ", ".join(found or [full for full in served if not full.startswith("grpc.")])
            raise NotFound(
                f"{'more than one service is' if found else 'no service is'} called {service_name!r}: {known}",
                reason=reasons.METHOD_NOT_FOUND,
            )
        await self._fetch(pb.ServerReflectionRequest(file_containing_symbol=found[0]))
        service = self.pool.FindServiceByName(found[0])
        method = service.methods_by_name.get(method_name)
        if method is None:
            raise NotFound(
                f"{found[0]} has no method {method_name!r}; it has {', '.join(service.methods_by_name)}",
                reason=reasons.METHOD_NOT_FOUND,
            )
        return method

    async def methods(self) -> Sequence[str]:
        """Every method as `package.Service/Method`, without the methods of reflection itself."""
        names = []
        for service in await self.services():
            if service.startswith("grpc.reflection."):
                continue
            await self._fetch(pb.ServerReflectionRequest(file_containing_symbol=service))
            names += [f"{service}/{name}" for name in self.pool.FindServiceByName(service).methods_by_name]
        return names

    async def _fetch(self, request: pb.ServerReflectionRequest) -> None:
        """Put the files of the answer and their imports into the pool, imports first."""
        answer = await self._answer(request)
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            if file.name in self._fetched:
                continue
            self._fetched.add(file.name)
            for imported in file.dependency:
                if imported not in self._fetched:
                    await self._fetch(pb.ServerReflectionRequest(file_by_filename=imported))
            self.pool.Add(file)

    async def _answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        call = self._ask()
        try:
            await call.write(request)
            await call.done_writing()
            answer = await call.read()
        finally:
            call.cancel()
        assert isinstance(answer, pb.ServerReflectionResponse)
        if answer.HasField("error_response"):
            raise NotFound(answer.error_response.error_message, reason=reasons.METHOD_NOT_FOUND)
        return answer
