"""A plain grpc.aio server with the EchoService and nothing of the mesh.

python -m bench.bare PORT
"""

import asyncio
import sys

import grpc
import uvloop
from soma.testing.v1.echo_service_pb2_grpc import add_EchoServiceServicer_to_server

from services.mesh.testing.echo import EchoServicer


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    add_EchoServiceServicer_to_server(EchoServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
