"""Vectors by an embedder in Triton, whose server merges the texts of concurrent callers into batches.

Such a model has the input `TEXT` (strings) and the outputs `VECTOR`, `NORM`, `TOKENS` and `WINDOWS`, as
`triton_models/embedder` has them.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput

from services.model.adapters.triton.refusal import protocol_error
from services.model.adapters.triton.server import Server
from services.model.embedding.embedder import Embeddings

# Batches of one call at the same time. More would only let a call with a thousand texts delay one with a single text.
_BESIDE = 4
_OUTPUTS = (("VECTOR", np.float32), ("NORM", np.float32), ("TOKENS", np.int32), ("WINDOWS", np.int32))


async def vectors(
    server: Server, model: str, texts: Sequence[str], batch: int, seconds: float, priority: int = 0
) -> Embeddings:
    """The vectors of `texts`, in their order.

    Args:
        server: the server.
        model: name of the model in its repository.
        texts: at least one.
        batch: most texts in one request.
        seconds: most time for the answer to one request.
        priority: of the requests in the model's queue; 0 for its default.

    Raises:
        MeshError: a request failed; the others are cancelled.
    """
    order = np.argsort(np.array([len(text) for text in texts]), kind="stable")
    shares = [order[begin : begin + batch] for begin in range(0, len(order), batch)]
    turns = asyncio.Semaphore(_BESIDE)

    async def run(share: NDArray[np.intp]) -> Sequence[NDArray[Any]]:
        async with turns:
            return await _run(server, model, [texts[index] for index in share.tolist()], seconds, priority)

    if len(shares) == 1:
        parts = [await run(shares[0])]
    else:
        tasks = [asyncio.ensure_future(run(share)) for share in shares]
        try:
            parts = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    back = np.argsort(order, kind="stable")
    try:
        found, norms, tokens, windows = (np.concatenate(column)[back] for column in zip(*parts, strict=True))
    except ValueError as error:
        raise protocol_error(f"{model} made vectors of different lengths") from error
    return Embeddings(found, norms[:, 0], tokens[:, 0], windows[:, 0] if (windows > 1).any() else None)


async def _run(
    server: Server, model: str, texts: Sequence[str], seconds: float, priority: int
) -> Sequence[NDArray[Any]]:
    tensor = InferInput("TEXT", [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode()] for text in texts], np.object_))
    answer = await server.infer(model, [tensor], seconds, priority)
    columns = []
    for name, dtype in _OUTPUTS:
        column = answer.as_numpy(name)
        if column is None or column.ndim != 2 or len(column) != len(texts) or column.dtype != dtype:
            raise protocol_error(f"{model} has no {name} for each text")
        columns.append(column)
    if not np.isfinite(columns[0]).all():
        raise protocol_error(f"{model} made a vector that is no numbers")
    return columns
