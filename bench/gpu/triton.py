"""The way over the real server, from the wheel of `make triton`, if it came along. Its clients speak HTTP.

The server and its models use the Python that runs this, because that one has PyTorch.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from bench.gpu.configurations import EMBED, WRITE, write
from bench.gpu.task import Task

ROOT = Path(__file__).parents[2]
# Random weights are made by the models when they load.
START_SECONDS = 300.0
_LOG_LINES = 15
_HEADER = "Inference-Header-Content-Length"


def _environment(libraries: Sequence[Path]) -> dict[str, str]:
    """The environment of this process, in which the server finds its libraries, and its models what this one finds."""
    own = dict(os.environ)  # noqa: TID251 - not a setting
    python = [str(ROOT), *(each for each in sys.path if each)]
    found = [*map(str, libraries), *filter(None, [own.get("LD_LIBRARY_PATH")])]
    return {
        **own,
        # By the first `python3` there, the Python inside of a model's process knows its packages.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", "/usr/bin:/bin")]),
        "PYTHONPATH": os.pathsep.join(python),
        "LD_LIBRARY_PATH": os.pathsep.join(found),
    }


class Unusable(Exception):
    """The server is not here, or does not run here; the text says why."""


class Triton:
    """The server with the models.

    Raises:
        Unusable: there is none, or it does not start.
    """

    def __init__(self, task: Task, environment: Path = ROOT / ".tools" / "triton") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="soma-bench-gpu-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._local = threading.local()
        try:
            self._start(task, environment)
        except BaseException:
            self.close()
            raise

    def _start(self, task: Task, environment: Path) -> None:
        packages = next(environment.glob("lib/python*/site-packages"), None)
        server = packages / "pytriton" / "tritonserver" if packages is not None else None
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = server / "python_backend_stubs" / version / "triton_python_backend_stub" if server is not None else None
        if packages is None or server is None or not (server / "bin" / "tritonserver").exists():
            raise Unusable(f"no server of Triton in {environment}: `make triton`, where there is a network")
        if stub is None or not stub.exists():
            raise Unusable(f"the server of the wheel runs no models of Python {version}")
        backends = self._folder / "backends" / "python"
        backends.mkdir(parents=True)
        for file in (*(server / "backends" / "python").iterdir(), stub):
            (backends / file.name).symlink_to(file)
        write(self._folder / "models", task)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self._log = self._folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(server / "bin" / "tritonserver"),
                    f"--model-repository={self._folder / 'models'}",
                    f"--backend-directory={self._folder / 'backends'}",
                    "--http-address=127.0.0.1",
                    f"--http-port={self.port}",
                    "--allow-grpc=false",
                    "--allow-metrics=false",
                    f"--backend-config=python,shm-region-prefix-name=soma_bench_gpu_{os.getpid()}_",
                ],
                env=_environment(
                    [packages / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR") or "/lib")]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._await_ready()

    def _await_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    self.version = self._said_version()
                    return
            except OSError:
                pass
            time.sleep(0.2)
        # The log has its errors in lines that begin with an E.
        lines = [each for each in self._log.read_text(errors="replace").splitlines() if each[:1] in ("E", "e")]
        raise Unusable("the server did not start:\n" + "\n".join(f"    {line[:500]}" for line in lines[:_LOG_LINES]))

    def _said_version(self) -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/v2")
        return str(json.loads(connection.getresponse().read())["version"])

    @property
    def _connection(self) -> HTTPConnection:
        """One connection for each thread."""
        if not hasattr(self._local, "connection"):
            self._local.connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        found: HTTPConnection = self._local.connection
        return found

    def embed(self, texts: Sequence[Sequence[int]]) -> None:
        ids = np.array(texts, np.int32)
        tensor = {"name": "IDS", "datatype": "INT32", "shape": list(ids.shape)}
        head = json.dumps(
            {
                "inputs": [{**tensor, "parameters": {"binary_data_size": ids.nbytes}}],
                "outputs": [{"name": "VECTOR", "parameters": {"binary_data": True}}],
            }
        ).encode()
        headers = {"Content-Type": "application/octet-stream", _HEADER: str(len(head))}
        self._connection.request("POST", f"/v2/models/{EMBED}/infer", head + ids.tobytes(), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"Triton refused: {body[:500].decode(errors='replace')}")
        vectors = np.frombuffer(body[int(answer.headers[_HEADER]) :], np.float32)
        if vectors.size == 0 or vectors.size % len(texts):
            raise RuntimeError("Triton gave no vector for each text")

    def write(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        body = json.dumps({"IDS": list(ids), "TOKENS": tokens})
        self._connection.request(
            "POST", f"/v2/models/{WRITE}/generate_stream", body, {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"Triton refused: {answer.read()[:500].decode(errors='replace')}")
        for line in answer:
            if line.startswith(b"data:"):
                found = json.loads(line[5:])
                if "error" in found:
                    raise RuntimeError(f"Triton failed: {found['error']}")
                token = found["TOKEN"]
                yield int(token[0] if isinstance(token, list) else token)
        answer.close()

    def close(self) -> None:
        """Stop the server, and remove its files."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for region in Path("/dev/shm").glob(f"soma_bench_gpu_{os.getpid()}_*"):
            region.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
