"""A decoder of the shape of a Llama, with random weights, in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

Tensor = Any


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; `head` is the size of one head, `inner` that of the layers between."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int

    @property
    def parameters(self) -> int:
        """The number of weights; those of words count once, because they are also the last layer."""
        attention = self.hidden * self.head * (2 * self.heads + 2 * self.kv_heads)
        return self.vocabulary * self.hidden + self.layers * (attention + 3 * self.hidden * self.inner)


SHAPES = {
    # That of Llama 3.2 1B.
    "1b": Shape(128_256, 2048, 16, 32, 8, 64, 8192),
    "tiny": Shape(512, 64, 2, 4, 2, 16, 128),
}


def dtype_of(device: str) -> Any:
    """The type of the weights: bfloat16 on GPUs, float32 on processors."""
    return torch.bfloat16 if device == "cuda" else torch.float32


class Cache:
    """Keys and values of conversations, each in a row."""

    def __init__(self, shape: Shape, rows: int, longest: int, device: str, dtype: Any) -> None:
        size = (shape.layers, 2, rows, shape.kv_heads, longest, shape.head)
        self.tensor = torch.zeros(size, device=device, dtype=dtype)

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        self.tensor[:, :, target] = self.tensor[:, :, source]


class Llama:
    """The model. Its methods run under `torch.inference_mode`."""

    def __init__(self, shape: Shape, device: str, dtype: Any) -> None:
        torch.manual_seed(1)
        self.shape = shape
        self.device = device
        self.dtype = dtype

        def weights(*size: int) -> Tensor:
            return torch.randn(*size, device=device, dtype=dtype) * size[-1] ** -0.5

        self._words = weights(shape.vocabulary, shape.hidden)
        queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
        self._layers = [
            {
                "queries": weights(queries, shape.hidden),
                "keys": weights(keys, shape.hidden),
                "values": weights(keys, shape.hidden),
                "out": weights(shape.hidden, queries),
                "gate": weights(shape.inner, shape.hidden),
                "up": weights(shape.inner, shape.hidden),
                "down": weights(shape.hidden, shape.inner),
            }
            for _ in range(shape.layers)
        ]
        self._frequencies = 500_000.0 ** -(torch.arange(0, shape.head, 2, device=device).float() / shape.head)

    def vectors(self, ids: Tensor) -> Tensor:
        """(n, t) numbers of tokens to (n, hidden) vectors of length 1: the mean over the tokens."""
        with torch.inference_mode():
            hidden = self._run(ids, torch.zeros(len(ids), dtype=torch.long, device=self.device), None, 0)
            return functional.normalize(hidden.mean(dim=1).float(), dim=1)

    def next(self, ids: Tensor, begin: Tensor, cache: Cache, row: int) -> Tensor:
        """The most probable next token of each conversation, (n,).

        Args:
            ids: (n, t) the tokens that are not in the cache yet.
            begin: (n,) how many are there.
            cache: theirs are added to it, in the rows from `row` on.
            row: the row of the first conversation.
        """
        with torch.inference_mode():
            hidden = self._run(ids, begin, cache, row)[:, -1]
            return functional.linear(hidden, self._words).argmax(dim=-1)

    def _run(self, ids: Tensor, begin: Tensor, cache: Cache | None, row: int) -> Tensor:
        count, length = ids.shape
        places = begin[:, None] + torch.arange(length, device=self.device)
        angles = places[:, None, :, None].float() * self._frequencies
        turn = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        rows = torch.arange(row, row + count, device=self.device)[:, None]
        longest, mask = length, None
        if cache is not None:
            longest = int(places.max()) + 1
            mask = (torch.arange(longest, device=self.device) <= places[:, :, None])[:, None]
        hidden = functional.embedding(ids, self._words)
        for number, layer in enumerate(self._layers):
            normal = functional.rms_norm(hidden, (self.shape.hidden,))
            queries, keys, values = (self._heads(normal, layer[name]) for name in ("queries", "keys", "values"))
            queries, keys = _turned(queries, turn), _turned(keys, turn)
            if cache is not None:
                stored = cache.tensor[number]
                # The first indices are (n, 1) and (n, t), so the heads come last.
                stored[0][rows, :, places] = keys.transpose(1, 2)
                stored[1][rows, :, places] = values.transpose(1, 2)
                keys, values = stored[:, row : row + count, :, :longest]
            groups = self.shape.heads // self.shape.kv_heads
            keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
            found = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, is_causal=mask is None and length > 1
            )
            hidden = hidden + functional.linear(found.transpose(1, 2).flatten(2), layer["out"])
            normal = functional.rms_norm(hidden, (self.shape.hidden,))
            inner = functional.silu(functional.linear(normal, layer["gate"])) * functional.linear(normal, layer["up"])
            hidden = hidden + functional.linear(inner, layer["down"])
        return functional.rms_norm(hidden, (self.shape.hidden,))

    def _heads(self, hidden: Tensor, weights: Tensor) -> Tensor:
        """(n, t, hidden) to (n, heads, t, head)."""
        return functional.linear(hidden, weights).unflatten(-1, (-1, self.shape.head)).transpose(1, 2)


def _turned(tensor: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs of numbers by the places of their tokens."""
    cosine, sine = turn
    first, second = tensor.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
