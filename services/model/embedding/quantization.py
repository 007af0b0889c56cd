"""Eight-bit weights: one scale per output channel, outliers of the input moved into the weights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Half of an input channel's spread goes to the weights: "SmoothQuant" (Xiao et al., 2022), equation 4.
MIGRATION = 0.5


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix as int8 `values`; `values * scales`, broadcast over columns or rows, is the matrix again."""

    values: NDArray[np.int8]
    scales: Array


def quantize(array: Array, axis: int) -> Quantized:
    """Symmetric int8 of a matrix, with one scale for each column (`axis` 0) or row (`axis` 1)."""
    scales = np.abs(array).max(axis=axis, keepdims=True) / 127
    scales = np.where(scales == 0, np.float32(1), scales)
    return Quantized(np.round(array / scales).astype(np.int8), scales.squeeze(axis).astype(np.float32))


def smoothing(activations: Array, weight: Array) -> Array:
    """What to divide each input channel by, and multiply its row of `weight` (inputs, outputs) with.

    Args:
        activations: largest magnitude seen in each input channel.
        weight: the matrix that follows.
    """
    largest = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    factors: Array = np.maximum(activations, 1e-5) ** MIGRATION / largest ** (1 - MIGRATION)
    even: Array = (factors / factors.mean()).astype(np.float32)
    return even
