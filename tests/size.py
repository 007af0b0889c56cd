"""Checks that find more the longer they run have two sizes: one beside the other tests, one for `make prove`.

Beside the others a check is short, and does the same each time. With `--full` it takes what it needs and tries other
things in each run. Such a check is a property of Hypothesis, or a test that asks for `size`; it has the mark `long`.
"""

from dataclasses import dataclass

import pytest
from hypothesis import is_hypothesis_test, settings

# A property's examples, where it does not say otherwise.
EXAMPLES = 100
FULL_TIMES = 50
FULL_SECONDS = 3600.0

settings.register_profile("seeded", max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
settings.register_profile("full", max_examples=FULL_TIMES * EXAMPLES, deadline=None, print_blob=True)


@dataclass(frozen=True)
class Size:
    """How much a check does in this run."""

    full: bool

    def of(self, seeded: int, full: int) -> int:
        """The count for this size."""
        return full if self.full else seeded


def examples(seeded: int) -> int:
    """`max_examples` of a property whose examples take longer than most; as many times more at full size."""
    assert settings.default is not None
    return seeded * settings.default.max_examples // EXAMPLES


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    """The size of this run's checks."""
    return Size(pytestconfig.getoption("full"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`."""
    parser.addoption("--full", action="store_true", help="do long checks at full size (make prove)")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the size before a module of tests is read."""
    config.addinivalue_line("markers", "long: a check with two sizes (tests/size.py)")
    settings.load_profile("full" if config.getoption("full") else "seeded")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what has two sizes, and let it take its time at full size."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "size" in item.fixturenames or is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.long)
            if config.getoption("full"):
                item.add_marker(pytest.mark.timeout(FULL_SECONDS), append=False)
