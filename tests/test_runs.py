"""How a run of these tests is made: the size of its checks, what its workers share, and whose the ports are."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.stack import Ended, command
from tests.ports import FIRST, LAST, free_port
from tests.workers import group

ROOT = Path(__file__).parents[1]
CHECKS = """
from hypothesis import given, settings, strategies
from tests.size import examples

tried = []


@given(strategies.integers())
def test_a_property(number):
    tried.append(number)


@settings(max_examples=examples(20))
@given(strategies.integers())
def test_a_slow_property(number):
    tried.append(number)


def test_a_count(size):
    print("count", size.of(3, full=4000))


def test_of_one_size():
    print("tried", len(tried), hash(tuple(tried)))
"""
PORTS = "from tests.ports import free_port; print(*(free_port() for _ in range(200)), flush=True); input()"


async def checks(folder: Path, *options: str) -> Ended:
    """A run of the checks above, in a process of its own."""
    (folder / "test_checks.py").write_text(CHECKS)
    plugins = ("-p", "tests.size", "-p", "no:valkey", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", folder)
    return await command(sys.executable, "-m", "pytest", "-qs", *plugins, *options, folder, cwd=ROOT)


def told(ended: Ended, word: str) -> list[str]:
    """What the run printed after a word."""
    assert ended.status == 0, ended.output + ended.errors
    (line,) = (line for line in ended.output.splitlines() if f"{word} " in line)
    return line.partition(f"{word} ")[2].split()


async def test_beside_others_a_long_check_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = [await checks(tmp_path) for _ in range(2)]
    assert told(first, "count")[0] == "3"
    assert 0 < int(told(first, "tried")[0]) <= 100 + 20
    assert told(first, "tried") == told(second, "tried")


async def test_at_full_size_it_tries_more_and_what_has_one_size_is_left_out(tmp_path: Path) -> None:
    ended = await checks(tmp_path, "--full", "-m", "long")
    assert told(ended, "count")[0] == "4000"
    assert "3 passed, 1 deselected" in ended.output
    every = await checks(tmp_path, "--full")
    assert int(told(every, "tried")[0]) > 10 * (100 + 20)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/mesh/call/test_trace.py::test_a", "tests/mesh/call/test_trace.py::test_b[x::y]", True),
        ("tests/mesh/call/test_trace.py::test_a", "tests/mesh/call/test_token.py::test_a", False),
        ("tests/e2e/streams/test_killed.py::test_a", "tests/e2e/streams/test_stopped.py::test_a", True),
        ("tests/e2e/test_rest.py::test_a", "tests/e2e/test_logs.py::test_a", False),
    ],
)
def test_what_shares_a_stack_of_its_own_goes_to_one_worker(one: str, other: str, together: bool) -> None:
    assert (group(one) == group(other)) == together


async def test_two_processes_are_given_no_port_twice() -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PORTS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        for _ in range(2)
    ]
    given = [free_port() for _ in range(200)]
    try:
        for process in processes:
            assert process.stdout is not None
            given += map(int, (await process.stdout.readline()).split())
    finally:
        for process in processes:
            await process.communicate(b"\n")
    assert len(given) == len(set(given)) == 600
    assert all(FIRST <= port < LAST for port in given)
