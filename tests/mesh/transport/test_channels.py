"""The channels of a process: they lead to its own services once it serves them."""

import pytest
from soma.testing.v1.echo_service_pb2 import EchoRequest
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.local import SIGNER, SOMEBODY, LocalMesh
from services.mesh.transport.channels import Channels
from services.mesh.transport.directory import Directory
from services.mesh.transport.limits import MESSAGE_BYTES


async def test_a_service_is_unavailable_while_it_is_built_and_reached_afterwards() -> None:
    channels = Channels(["testing"], Directory(), SIGNER, MESSAGE_BYTES)
    stub = EchoServiceStub(channels.connect("testing"))
    with run_as(SOMEBODY):
        with pytest.raises(errors.MeshError) as raised:
            await stub.Echo(EchoRequest(text="early"), timeout=5)
        early = raised.value
        assert (early.code, early.reason) == (errors.Code.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        channels.serve(LocalMesh([(add_EchoServiceServicer_to_server, EchoServicer())]).handlers)
        assert (await stub.Echo(EchoRequest(text="late"), timeout=5)).text == "late"
    await channels.close()
