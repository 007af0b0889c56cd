"""How the tests of a run are shared among its workers (`pytest -n auto`, as `make test` does).

A worker has a Postgres and a Redis of its own, and its own of each stack that tests share. So the tests of a file go to
one worker, and so do those of the files that share a stack which takes long to start.
"""

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Folders whose files share a stack that nobody else uses.
TOGETHER = (
    "tests/clients/",
    "tests/e2e/hostile/",
    "tests/e2e/streams/",
)
# Tests wait most of their time: a processor keeps that many workers busy.
WORKERS_A_PROCESSOR = 1.5


def group(nodeid: str) -> str:
    """The name of what goes to one worker as a whole, for a test of it."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Hands out groups in the order of their tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """How tests are handed out."""
    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` stands for."""
    return max(2, round((os.cpu_count() or 1) * WORKERS_A_PROCESSOR))
