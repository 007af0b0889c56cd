"""Quantisation to eight bits has an error of at most half a step, and smoothing changes no product."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.model.embedding.quantization import Array, quantize, smoothing

MATRICES = arrays(np.float32, (5, 7), elements=st.floats(-8, 8, width=32))


@given(MATRICES, st.sampled_from([0, 1]))
def test_a_quantized_matrix_is_within_half_a_step(matrix: Array, axis: int) -> None:
    found = quantize(matrix, axis)
    scales = np.expand_dims(found.scales, axis)
    assert (np.abs(found.values * scales - matrix) <= scales * 0.5001).all()


@given(MATRICES, arrays(np.float32, 5, elements=st.floats(0, 50, width=32)))
def test_smoothing_moves_scale_from_the_input_into_the_weights(matrix: Array, activations: Array) -> None:
    factors = smoothing(activations, matrix)
    assert (factors > 0).all()
    assert factors.mean() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose((activations / factors) @ (matrix * factors[:, None]), activations @ matrix, atol=0.05)
