"""The memory of several processes counts shared pages once."""

import subprocess
import sys

import psutil
import pytest

from bench.memory import resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc/PID/smaps")
def test_a_second_process_of_a_program_adds_less_memory_than_the_first() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        one, two = (psutil.Process(child.pid) for child in children)
        alone = resident_bytes([one])
        assert 0.8 < alone / one.memory_info().rss < 1.2
        assert alone < resident_bytes([one, two]) < 1.8 * alone
        children[1].communicate(b"\n", timeout=10)
        assert 0.8 < resident_bytes([one, two]) / alone < 1.2
    finally:
        for child in children:
            if child.poll() is None:
                child.communicate(b"\n", timeout=10)
