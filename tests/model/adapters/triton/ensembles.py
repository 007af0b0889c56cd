"""Checks an ensemble against the configurations of its parts, as Triton does when it loads it."""

from collections.abc import Callable
from typing import Any


def check_ensemble(whole: Any, part: Callable[[str], Any]) -> None:
    """Fail unless every tensor has one source with its type and its dimensions, and every input of a part is given."""
    known = {each.name: each for each in whole.input}
    for step in whole.ensemble_scheduling.step:
        configuration = part(step.model_name)
        assert configuration.name == step.model_name
        assert configuration.max_batch_size >= whole.max_batch_size
        inputs = {each.name: each for each in configuration.input}
        outputs = {each.name: each for each in configuration.output}
        assert {name for name, each in inputs.items() if not each.optional} <= step.input_map.keys() <= inputs.keys()
        assert step.output_map.keys() <= outputs.keys()
        for name, source in step.input_map.items():
            _check_same(inputs[name], known[source])
        for name, target in step.output_map.items():
            assert target not in known, f"{target} has two sources"
            known[target] = outputs[name]
    for each in whole.output:
        _check_same(each, known[each.name])


def _check_same(left: Any, right: Any) -> None:
    assert left.data_type == right.data_type, left.name
    assert len(left.dims) == len(right.dims), left.name
    # -1 is any size.
    assert all(-1 in (a, b) or a == b for a, b in zip(left.dims, right.dims, strict=True)), left.name
