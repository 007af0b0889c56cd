"""Only the pipeline may abort a call."""

import pytest

from tools.aborts import PIPELINE, ROOT, aborts_in


@pytest.mark.parametrize(
    "line",
    [
        "await context.abort(code, 'gone')",
        "await self._context.abort(code)",
        "context.abort_with_status(status)",
        "await call.context.abort(\n    code,\n)",
    ],
)
def test_ending_a_call_through_its_context_is_found(line: str) -> None:
    body = "\n".join(f"    {part}" for part in line.splitlines())
    assert list(aborts_in(f"async def f():\n{body}")) == [2]


@pytest.mark.parametrize(
    "line", ["transport.abort()", "# context.abort(code)", "'context.abort(code)'", "context.abort"]
)
def test_other_calls_are_not_found(line: str) -> None:
    assert list(aborts_in(line)) == []


def test_the_pipeline_aborts_calls() -> None:
    assert list(aborts_in((ROOT / PIPELINE).read_text()))
