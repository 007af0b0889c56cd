"""Quantises weights to eight bits, with one scale for each output channel, and moves outliers of inputs into them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Half of the range of an input channel moves to the weights: "SmoothQuant" (Xiao et al., 2022), equation 4.
MIGRATION = 0.5


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix as int8 `values`.

    The product `values * scales`, broadcast over columns or rows, approximates the matrix.
    """

    values: NDArray[np.int8]
    scales: Array


def quantize(array: Array, axis: int) -> Quantized:
    """Quantise a matrix to symmetric int8, with one scale for each column (`axis` 0) or row (`axis` 1)."""
    scales = np.abs(array).max(axis=axis, keepdims=True) / 127
    scales = np.where(scales == 0, np.float32(1), scales)
    return Quantized(np.round(array / scales).astype(np.int8), scales.squeeze(axis).astype(np.float32))


def smoothing(activations: Array, weight: Array) -> Array:
    """The factor by which to divide each input channel and to multiply its row of `weight` (inputs, outputs).

    Args:
        activations: largest magnitude in each input channel.
        weight: matrix of the next layer.
    """
    largest = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    factors: Array = np.maximum(activations, 1e-5) ** MIGRATION / largest ** (1 - MIGRATION)
    even: Array = (factors / factors.mean()).astype(np.float32)
    return even
