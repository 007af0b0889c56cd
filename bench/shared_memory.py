"""Tensors for Triton by gRPC and by shared memory: the fastest call of the embedder, one after the other.

    python -m bench.shared_memory [--calls N]

The mesh sends tensors by gRPC. This is the measurement behind that (docs/triton.md).
"""

import argparse
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import uvloop
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.utils import serialize_byte_tensor, shared_memory

from bench.embeddings import WORDS, sentence
from bench.environment import FOLDER
from bench.table import Row, render
from bench.triton import running
from services.model.adapters.triton.server import Server
from services.model.embedding.settings import EmbeddingSettings

ROUNDS = 3
# Names of the regions.
INPUT, OUTPUT = "soma_bench_in", "soma_bench_out"
DIMENSIONS = 384


class Regions:
    """A region for the texts, and one for their vectors, that the server knows."""

    def __init__(self, server: Server, texts: Sequence[str]) -> None:
        rows = np.array([[text.encode()] for text in texts], np.object_)
        self._server = server
        self._shape = [len(texts), 1]
        self._rows = rows
        self._size = len(serialize_byte_tensor(rows).item())
        self._made = len(texts) * DIMENSIONS * 4
        self._input = shared_memory.create_shared_memory_region(INPUT, f"/{INPUT}", self._size)
        self._output = shared_memory.create_shared_memory_region(OUTPUT, f"/{OUTPUT}", self._made)

    async def register(self) -> None:
        """Tell the server."""
        for name, size in ((INPUT, self._size), (OUTPUT, self._made)):
            await self._server.client.register_system_shared_memory(name, f"/{name}", size)

    async def remove(self) -> None:
        """Take them back."""
        await self._server.client.unregister_system_shared_memory()
        for region in (self._input, self._output):
            shared_memory.destroy_shared_memory_region(region)

    async def call(self) -> None:
        """One call, with everything that it needs each time."""
        shared_memory.set_shared_memory_region(self._input, [serialize_byte_tensor(self._rows)])
        tensor = InferInput("TEXT", self._shape, "BYTES")
        tensor.set_shared_memory(INPUT, self._size)
        wanted = InferRequestedOutput("VECTOR")
        wanted.set_shared_memory(OUTPUT, self._made)
        await self._server.client.infer("embedder", [tensor], outputs=[wanted])
        shared_memory.get_contents_as_numpy(self._output, np.float32, [self._shape[0], DIMENSIONS]).copy()


async def by_grpc(server: Server, texts: Sequence[str]) -> None:
    """The same call, as the provider makes it."""
    tensor = InferInput("TEXT", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
    answer = await server.client.infer("embedder", [tensor], outputs=[InferRequestedOutput("VECTOR")])
    answer.as_numpy("VECTOR")


async def fastest_ms(call: Callable[[], Awaitable[None]], calls: int) -> float:
    """The time of the fastest call: what the machine does beside makes calls slower, and none faster."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return min(times) * 1000


async def compare(server: Server, name: str, texts: Sequence[str], calls: int) -> Row:
    """Both in turn."""
    regions = Regions(server, texts)
    await regions.register()
    plain, shared = [], []
    try:
        for _ in range(ROUNDS):
            plain.append(await fastest_ms(lambda: by_grpc(server, texts), calls))
            shared.append(await fastest_ms(regions.call, calls))
    finally:
        await regions.remove()
    here, peer = min(shared), min(plain)
    return Row(name, f"{here:.2f} ms", f"{peer:.2f} ms by gRPC", f"{here / peer:.2f}×", "", None)


async def main(calls: int) -> None:
    """Print the table."""
    random_ = random.Random(1)
    words = random_.choices(WORDS, k=64)
    sentences = [sentence(random_) for _ in range(64)]
    long = " ".join(random_.choices(sentences, k=4000))[:131_072]
    async with running(EmbeddingSettings(directory=FOLDER / "models")) as (server, _, _):
        rows = [
            await compare(server, "64 texts of a word, by shared memory", words, calls),
            await compare(server, "64 sentences, by shared memory", sentences, calls // 2),
            await compare(server, "one text of 131,072 characters, by shared memory", [long], max(2, calls // 20)),
        ]
    print(render(rows))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=40)
    uvloop.run(main(arguments.parse_args().calls))
