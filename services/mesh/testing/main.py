"""Declares and builds the `testing` service: an echo and notes behind everything a call to a real service passes."""

from contextlib import AsyncExitStack

from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from soma.testing.v1.note_service_pb2_grpc import add_NoteServiceServicer_to_server

from services.mesh.declaration import Declaration, NoSettings
from services.mesh.mesh import Mesh
from services.mesh.service import Service
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.notes import NoteServicer
from services.mesh.testing.surface import surface


async def build(mesh: Mesh, _settings: NoSettings, _stack: AsyncExitStack) -> Service:
    """An EchoService whose further hops come back to it through the mesh, a NoteService, and a surface."""
    echo = EchoServicer(peer=lambda: EchoServiceStub(mesh.connect("testing")))
    return Service(
        servicers=[(add_EchoServiceServicer_to_server, echo), (add_NoteServiceServicer_to_server, NoteServicer())],
        surfaces=[surface()],
    )


SERVICE = Declaration(name="testing", build=build, settings=NoSettings, neighbours=("testing",))
