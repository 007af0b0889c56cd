"""Every example in the documentation runs unchanged, against a whole stack."""

import re
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, command
from tests.sdk.conftest import pointing

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    pytest.param(match[1], id=f"{page.name}:{page.read_text()[: match.start()].count(chr(10)) + 2}")
    for page in (ROOT / "docs" / "sdk.md", ROOT / "sdk" / "python" / "README.md")
    for match in re.finditer(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 9


@pytest.mark.parametrize("code", EXAMPLES)
async def test_an_example_runs(stack: Stack, code: str) -> None:
    ended = await command(*pointing(stack.url, stack.key), sys.executable, "-W", "error", "-c", code)
    assert ended.status == 0, ended.errors
    assert ended.output.strip()
