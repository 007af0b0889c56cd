"""The part `llm` under a supervisor: its process starts when it is asked, ends when nobody asks, and is replaced."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from cli.data_dir import DataDir
from cli.parts.llm import Llm
from cli.parts.part import Launch
from cli.status import PartStatus, State
from cli.supervisor import Supervisor
from services.mesh.call.errors import FailedPrecondition
from services.mesh.process.keys import read_key
from services.mesh.testing.waiting import until
from tests.cli.conftest import Supervised


def status_of(supervisor: Supervisor) -> PartStatus:
    (status,) = supervisor.statuses
    return status


def client(part: Llm, data_dir: DataDir) -> httpx.AsyncClient:
    key = read_key(data_dir["llm"] / "key")
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{part.port}", headers={"authorization": f"Bearer {key}"}, timeout=60.0
    )


async def test_the_process_starts_once_for_many_who_ask_and_ends_when_nobody_does(
    supervised: Supervised, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMA_LLM_IDLE_SECONDS", "0.5")
    part, seen = Llm(data_dir["llm"]), list[tuple[State, int | None]]()

    def look() -> None:
        status = status_of(supervisor)
        seen.append((status.state, status.pid))

    async with supervised(part, on_change=look) as supervisor:
        await supervisor.start()
        assert status_of(supervisor).state is State.IDLE
        assert status_of(supervisor).where == f"127.0.0.1:{part.port}"
        async with client(part, data_dir) as http:
            answers = await asyncio.gather(*(http.get("/health") for _ in range(8)))
            assert [answer.status_code for answer in answers] == [200] * 8
            await until(lambda: status_of(supervisor).state is State.IDLE, "nobody asks", seconds=30)
            pids = {pid for state, pid in seen if pid is not None and state is State.READY}
            assert len(pids) == 1
            assert (await http.get("/health")).status_code == 200
        assert status_of(supervisor).pid not in pids
        assert status_of(supervisor).restarts == 0


async def test_a_killed_process_is_replaced_when_it_is_asked_again(supervised: Supervised, data_dir: DataDir) -> None:
    part = Llm(data_dir["llm"])
    async with supervised(part) as supervisor:
        await supervisor.start()
        with pytest.raises(FailedPrecondition, match="llm is idle"):
            await supervisor.restart(["llm"])
        async with client(part, data_dir) as http:
            await http.get("/health")
            killed = status_of(supervisor).pid
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            assert (await http.get("/health")).status_code == 200
            status = status_of(supervisor)
            assert status.pid not in (killed, None)
            assert status.restarts == 1
            # An order to restart ends it; it starts again for the next who asks.
            await supervisor.restart(["llm"])
            assert status_of(supervisor).state is State.IDLE
            assert (await http.get("/health")).status_code == 200


class Broken(Llm):
    """A part whose process ends at once."""

    async def launch(self) -> Launch:
        launch = await super().launch()
        return Launch([sys.executable, "-c", "raise SystemExit(3)"], files=launch.files)


async def test_those_who_wait_for_a_process_that_does_not_start_are_told_so(
    supervised: Supervised, data_dir: DataDir
) -> None:
    part = Broken(data_dir["llm"])
    async with supervised(part) as supervisor:
        await supervisor.start()
        async with client(part, data_dir) as http:
            answers = await asyncio.gather(*(http.get("/health") for _ in range(3)))
        assert {answer.status_code for answer in answers} == {503}
        assert "the part llm exited with status 3" in answers[0].json()["error"]["message"]


async def test_the_process_ends_with_the_one_that_started_it(data_dir: DataDir, tmp_path: Path) -> None:
    script = tmp_path / "stack.py"
    script.write_text(
        "import asyncio\nfrom pathlib import Path\n"
        "from cli.parts.llm import Llm\nfrom cli.supervisor import Supervisor\n"
        "async def main():\n"
        f"    part = Llm(Path({str(data_dir['llm'])!r}))\n"
        f"    supervisor = Supervisor([part], Path({str(data_dir['logs'])!r}))\n"
        "    await supervisor.start()\n    print(part.port, flush=True)\n    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        part = Llm(data_dir["llm"])
        part.port = int(await parent.stdout.readline())
        async with client(part, data_dir) as http:
            await http.get("/health")
        (child,) = psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it has ended")
