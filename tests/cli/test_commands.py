"""The `soma` command on real stacks: up, status, logs, down."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from cli.data_dir import VERSION
from services.mesh.testing.waiting import until
from tests.cli.commands import WITHOUT_SERVICES, soma, status, up
from tests.cli.conftest import processes_of
from tests.ports import free_port

PARTS = ["postgres", "redis", "control", "envoy"]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory; a stack on it is stopped at the end."""
    yield tmp_path / "data"
    await soma("down", "--data-dir", tmp_path / "data")


@pytest.fixture(scope="module")
async def running_home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The data directory of one running stack, for all tests that only read it."""
    home = tmp_path_factory.mktemp("running") / "data"
    assert (await up(home, free_port())).status == 0
    yield home
    await soma("down", "--data-dir", home)


async def test_up_detached_returns_when_all_is_ready_and_down_leaves_nothing(home: Path) -> None:
    port = free_port()
    started = await up(home, port)
    assert (started.status, started.errors) == (0, "")
    assert f"http://127.0.0.1:{port}" in started.output
    found = await status(home)
    assert found["running"] is True
    assert found["state"] == "ready"
    assert found["url"] == f"http://127.0.0.1:{port}"
    assert found["api_key"] == (home / "dev.key").read_text().strip()
    assert stat.S_IMODE((home / "dev.key").stat().st_mode) == 0o600
    assert [part["name"] for part in found["parts"]] == PARTS
    for part in found["parts"]:
        assert part["state"] == "ready"
        assert psutil.pid_exists(part["pid"])
        assert part["rss_bytes"] > 1_000_000
        assert part["version"][0].isdigit()
        with socket.create_connection(("127.0.0.1", part["port"]), timeout=2):
            pass
    stopped = await soma("down", "--data-dir", home)
    assert (stopped.status, stopped.errors) == (0, "")
    assert processes_of(home) == []
    assert (await status(home))["running"] is False


async def test_the_key_is_in_no_log(running_home: Path) -> None:
    key = (running_home / "dev.key").read_text().strip()
    logs = [path.read_text() for path in (running_home / "logs").glob("*.log")]
    assert len(logs) >= len(PARTS)
    assert not any(key in text for text in logs)


async def test_two_stacks_run_side_by_side_and_stopping_one_does_not_stop_the_other(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    both = await asyncio.gather(up(home, free_port()), up(other, free_port()))
    assert [ended.status for ended in both] == [0, 0]
    before = await status(home)
    assert (await soma("down", "--data-dir", other)).status == 0
    after = await status(home)
    assert [part["pid"] for part in after["parts"]] == [part["pid"] for part in before["parts"]]
    assert [part["state"] for part in after["parts"]] == ["ready"] * len(PARTS)


async def test_a_second_stack_on_the_same_directory_is_refused(running_home: Path) -> None:
    first = await status(running_home)
    second = await up(running_home, free_port())
    assert second.status == 1
    assert f"already runs on {running_home} (pid {first['pid']})" in second.errors
    assert (await status(running_home))["pid"] == first["pid"]


async def test_a_stack_whose_run_folder_is_deleted_restores_it_refuses_a_second_stack_and_stops(home: Path) -> None:
    await up(home, free_port())
    before = await status(home)
    shutil.rmtree(home / "run")
    again = await up(home, free_port())
    assert again.status == 1
    assert f"already runs on {home} (pid {before['pid']})" in again.errors
    envoy = next(part for part in before["parts"] if part["name"] == "envoy")
    shutil.rmtree(home / "run")
    os.kill(envoy["pid"], signal.SIGKILL)

    async def restarted() -> bool:
        parts = {part["name"]: part for part in (await status(home))["parts"]}
        return "envoy" in parts and (parts["envoy"]["state"], parts["envoy"]["restarts"]) == ("ready", 1)

    await until(restarted, "envoy is back, and status says so", seconds=60)
    shutil.rmtree(home / "run")
    stopped = await soma("down", "--data-dir", home)
    assert (stopped.status, stopped.errors) == (0, "")
    assert processes_of(home) == []


@pytest.mark.parametrize("damage", ["", '{"pid"'])
async def test_the_commands_work_with_a_damaged_state(home: Path, damage: str) -> None:
    await up(home, free_port())
    pid = (await status(home))["pid"]
    # Stopped, so that it does not write the file again before the commands read it.
    os.kill(pid, signal.SIGSTOP)
    (home / "run" / "control.json").write_text(damage)
    found = await soma("status", "--data-dir", home)
    second = await up(home, free_port())
    os.kill(pid, signal.SIGCONT)
    assert (found.status, found.errors) == (0, "")
    assert f"a stack runs on {home} (pid {pid})" in found.output
    assert (second.status, "already runs" in second.errors, "Traceback" in second.errors) == (1, True, False)
    assert (await soma("down", "--data-dir", home)).status == 0
    assert processes_of(home) == []
    (home / "run" / "control.json").write_text(damage)
    assert (await soma("status", "--data-dir", home)).status == 3
    assert (await soma("down", "--data-dir", home)).status == 0
    assert (await up(home, free_port())).status == 0


async def test_a_taken_port_is_refused_naming_its_holder_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused = await up(home, port)
    assert refused.status == 1
    assert f"port {port} on 127.0.0.1 is taken by" in refused.errors
    assert f"(pid {os.getpid()})" in refused.errors
    assert not (home / "postgres" / "data").exists()


async def test_a_data_directory_of_a_newer_version_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "version").write_text(f"{VERSION + 1}\n")
    refused = await up(home, free_port())
    assert refused.status == 1
    assert f"data version '{VERSION + 1}'" in refused.errors


async def test_a_part_that_cannot_start_is_named_with_its_last_log_lines(home: Path) -> None:
    (home / "postgres" / "data").mkdir(parents=True)
    (home / "version").write_text(f"{VERSION}\n")
    (home / "postgres" / "data" / "PG_VERSION").write_text("18\n")
    refused = await up(home, free_port())
    assert refused.status == 1
    assert "postgres exited with status" in refused.errors
    assert "the last lines of postgres:" in refused.errors
    assert "postgresql.conf" in refused.errors
    assert processes_of(home) == []


async def test_killing_the_control_process_leaves_no_process(home: Path) -> None:
    await up(home, free_port())
    found = await status(home)
    children = psutil.Process(found["pid"]).children(recursive=True)
    assert len(children) >= 3
    os.kill(found["pid"], signal.SIGKILL)
    await until(lambda: processes_of(home) == [], "every process has ended")
    await until(lambda: not any(map(running, children)), "every child has ended")
    assert (await status(home))["running"] is False


def running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_a_stack_starts_again_after_its_control_process_was_killed(home: Path) -> None:
    port = free_port()
    await up(home, port)
    os.kill((await status(home))["pid"], signal.SIGKILL)
    assert (await up(home, port)).status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_in_the_foreground_a_signal_stops_everything_with_success(home: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-P", "-m", "cli.main", "up", "--dev", "--data-dir", str(home)]
    process = await asyncio.create_subprocess_exec(
        *command, "--port", str(free_port()), *WITHOUT_SERVICES, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        lines = [line async for line in lines_up_to(process.stdout, b"curl ")]
        assert b"postgres starting\n" in lines
        process.send_signal(number)
        assert await process.wait() == 0
    assert [child for child in processes_of(home) if child.pid != process.pid] == []


async def lines_up_to(stream: asyncio.StreamReader, word: bytes) -> AsyncIterator[bytes]:
    """The lines up to the first line with `word`."""
    async for line in stream:
        yield line
        if word in line:
            return


async def test_a_killed_envoy_is_back_on_the_public_port(home: Path) -> None:
    port = free_port()
    await up(home, port)
    envoy = next(part for part in (await status(home))["parts"] if part["name"] == "envoy")
    os.kill(envoy["pid"], signal.SIGKILL)

    def back() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await until(lambda: not psutil.pid_exists(envoy["pid"]) and back(), "the port answers again")


async def test_logs_show_each_part_or_one_of_them(running_home: Path) -> None:
    every = await soma("logs", "--data-dir", running_home, "-n", "5")
    assert {line.split()[0] for line in every.output.splitlines()} >= {"postgres", "redis"}
    one = await soma("logs", "postgres", "--data-dir", running_home, "-n", "100")
    assert "database system is ready to accept connections" in one.output
    assert "redis" not in one.output.lower()
    none = await soma("logs", "nginx", "--data-dir", running_home)
    assert none.status == 1
    assert "'nginx'" in none.errors


async def test_status_without_a_stack_says_so_and_exits_with_three(home: Path) -> None:
    ended = await soma("status", "--data-dir", home)
    assert ended.status == 3
    assert f"No stack runs on {home}" in ended.output


async def test_down_without_a_stack_succeeds(home: Path) -> None:
    assert (await soma("down", "--data-dir", home)).status == 0


async def test_doctor_names_everything_a_stack_needs(home: Path) -> None:
    ended = await soma("doctor", "--data-dir", home, "--port", str(free_port()))
    assert ended.status == 0
    for subject in (
        "postgres",
        "valkey-server",
        "envoy",
        "pgvector",
        "python packages",
        "data directory",
        "user",
        "port",
    ):
        assert subject in ended.output
    assert "missing" not in ended.output
    assert not home.exists()


async def test_doctor_looks_only_at_what_the_services_need(home: Path) -> None:
    ended = await soma(
        *(
            "doctor",
            "--data-dir",
            home,
            "--port",
            str(free_port()),
            "--without",
            "identity,edge,orchestrator,memory,model",
        )
    )
    assert ended.status == 0
    assert "envoy" in ended.output
    assert not any(part in ended.output for part in ("postgres", "pgvector"))


async def test_doctor_says_what_is_wrong_with_exit_status_one(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = await soma("doctor", "--data-dir", home, "--port", str(server.getsockname()[1]))
    assert ended.status == 1
    assert "missing  port" in ended.output
