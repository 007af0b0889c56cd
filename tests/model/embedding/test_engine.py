"""The vectors are those of the original model, independent of the other texts in a run."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from services.model.embedding.artifact import Artifact, Precision
from services.model.embedding.engine import RUN_TOKENS, Engine, runs
from services.model.embedding.linear import RowLinear
from services.model.embedding.nodes import Nodes
from services.model.embedding.session import open_session
from tests.model.embedding.conftest import Reference

Build = Callable[[Precision], Artifact]


@pytest.fixture(scope="module")
def int8(artifact_of: Build) -> Engine:
    return Engine(artifact_of("int8"))


@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("fp32", 0.9999)])
def test_every_vector_matches_the_reference_alone_and_in_a_batch(
    artifact_of: Build, reference: Reference, precision: Precision, least: float
) -> None:
    engine = Engine(artifact_of(precision))
    together = engine.embed(reference.texts).vectors
    for text, expected, vector in zip(reference.texts, reference.vectors, together, strict=True):
        alone = engine.embed([text]).vectors[0]
        assert float(vector @ expected) >= least, text
        assert float(alone @ expected) >= least, text


def test_int8_stays_close_to_float32_on_texts_it_was_not_calibrated_with(artifact_of: Build, int8: Engine) -> None:
    texts = [
        "!!!",
        "the the the",
        "москва",
        "🙂 good",
        "SELECT * FROM t WHERE a = 1;",
        "refund my order now",
        "q" * 300,
    ]
    exact = Engine(artifact_of("fp32")).embed(texts)
    found = int8.embed(texts)
    assert (found.vectors * exact.vectors).sum(axis=1).min() >= 0.99
    np.testing.assert_allclose(found.norms, exact.norms, rtol=0.03)


def test_vectors_have_length_one_and_norms_say_what_it_was(int8: Engine, reference: Reference) -> None:
    found = int8.embed(reference.texts)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert found.vectors.dtype == np.float32
    assert found.norms.min() > 1


def test_a_vector_does_not_depend_on_its_neighbours(int8: Engine, reference: Reference) -> None:
    text = "I want to return my order #12345"
    alone = int8.embed([text]).vectors[0]
    among = int8.embed([*reference.texts, "order", text, "a much longer text about nothing " * 20]).vectors[-2]
    assert float(alone @ among) >= 0.9999


def test_tokens_are_counted_with_both_marks_and_cut_at_256(int8: Engine) -> None:
    assert int8.embed(["", "hello world", "word " * 1000]).tokens.tolist() == [2, 4, 256]


@given(st.lists(st.integers(1, 256), max_size=200))
def test_runs_hold_every_row_once_of_one_length_within_the_limit(lengths: list[int]) -> None:
    groups = list(runs([[0] * length for length in lengths]))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        (length,) = {lengths[index] for index in group}
        assert len(group) == 1 or length * len(group) <= RUN_TOKENS


@pytest.mark.parametrize("unsigned", [False, True])
def test_the_products_of_both_kinds_of_weights_are_close_to_the_exact_ones(unsigned: bool) -> None:
    random = np.random.default_rng(7)
    weight = random.normal(size=(384, 16)).astype(np.float32)
    x = random.normal(size=(5, 384)).astype(np.float32)
    nodes = Nodes()
    [product] = RowLinear({}, unsigned=unsigned)(nodes, "x", "layer", weight)
    nodes.rename(product, "y")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    model = nodes.model(value[:1], value[1:])
    [found] = open_session(model.SerializeToString()).run(None, {"x": x})
    expected = x @ weight
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
