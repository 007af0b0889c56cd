"""NVIDIA Triton as a part of the stack: the server of its wheel, in an environment of its own, on a socket file.

Whoever can talk to a Triton can load any code into it. So it listens on a socket in a folder that only this user may
enter, and on no port.
"""

import asyncio
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from cli.parts.part import Launch, Part
from services.mesh.call.errors import FailedPrecondition
from services.model.adapters.triton.address import address
from services.model.adapters.triton.channel import Watch, credentials
from services.model.adapters.triton.repository import prepare
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.settings import EmbeddingSettings

PROBE_SECONDS = 3.0
# A socket's path has at most 107 bytes (unix(7)).
LONGEST_SOCKET = 100
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is where Triton has it
# The server makes its address from a host and a port, also that of a socket file: `HOST:PORT` is the file's path.
SOCKET, NUMBER = "grpc", 1


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel `nvidia-pytriton`, and the Python that it was made from."""

    root: Path

    @property
    def _packages(self) -> Path:
        return self.root / "lib" / f"python{self.python}" / "site-packages"

    @property
    def server(self) -> Path:
        """The folder of the server in the wheel."""
        return self._packages / "pytriton" / "tritonserver"

    @property
    def program(self) -> Path:
        """The server."""
        return self.server / "bin" / "tritonserver"

    @property
    def python(self) -> str:
        """The version of Python, such as 3.11."""
        return ".".join(self._configuration["version_info"].split(".")[:2])

    @property
    def stub(self) -> Path:
        """The program that runs a model's Python code."""
        return self.server / "python_backend_stubs" / self.python / "triton_python_backend_stub"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the server finds its libraries, and a model's code this environment."""
        libraries = [self._packages / "nvidia_pytriton.libs", Path(self._configuration["home"]).parent / "lib"]
        return {
            "PATH": f"{self.root / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        }

    @property
    def _configuration(self) -> dict[str, str]:
        lines = (self.root / "pyvenv.cfg").read_text("utf-8").splitlines()
        return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}

    def check(self) -> None:
        """Return if the server is there.

        Raises:
            FailedPrecondition: it is not; the message says how to get it.
        """
        if not (self.root / "pyvenv.cfg").exists() or not self.program.exists() or not self.stub.exists():
            raise FailedPrecondition(
                f"NVIDIA's Triton is missing in {self.root}: make triton, or set SOMA_TRITON_ENVIRONMENT to a virtual "
                "environment with triton_models/requirements.txt, or SOMA_TRITON_URL to a server that runs",
                reason="PROGRAM_MISSING",
            )


class _Server(Part):
    """A Triton; nothing in a stack waits for it."""

    optional = True

    def __init__(self, url: str, settings: TritonSettings) -> None:
        super().__init__("triton")
        self.url = url
        self._watch = Watch(address(url), credentials(settings.model_copy(update={"url": url})))

    async def probe(self, pid: int | None) -> None:
        """Ask for its health."""
        await self._watch.check(PROBE_SECONDS)
        if self.version is None:
            self.version = await self._watch.version(PROBE_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self._watch.close()


class ExternalTriton(_Server):
    """A server that somebody else runs, by the URL of the settings."""

    external = True

    def __init__(self, settings: TritonSettings) -> None:
        super().__init__(settings.url, settings)
        self.where = settings.url


class Triton(_Server):
    """A server whose files are in `folder`.

    Attributes:
        prefix: with which the names of its regions of shared memory begin, so that only its own are removed.

    Raises:
        FailedPrecondition: the server is not installed.
    """

    # On SIGTERM it unloads its models and looks every second whether it is done.
    grace = 15.0

    def __init__(self, folder: Path, settings: TritonSettings, embedding: EmbeddingSettings) -> None:
        self._installation = Installation(settings.environment)
        self._installation.check()
        self._folder = folder
        self._own: Path | None = None
        if len(bytes(folder / f"{SOCKET}:{NUMBER}")) > LONGEST_SOCKET:
            self._own = Path(tempfile.mkdtemp(prefix="soma-triton-"))
        self._socket = (self._own or folder) / SOCKET
        self.prefix = f"soma_triton_{sha256(str(folder).encode()).hexdigest()[:12]}_"
        self._settings = settings
        self._embedding = embedding
        super().__init__(f"unix:{self._socket}:{NUMBER}", settings)
        self.where = self.url

    async def launch(self) -> Launch:
        """Make the model repository and the folder of the backend, and remove what a killed server left."""
        self._remove_leftovers()
        models, load = self._folder / "models", self._settings.load
        await asyncio.to_thread(prepare, models, load, self._embedding, self._settings.gguf)
        flags = {
            "model-repository": models,
            "model-control-mode": "explicit",
            "backend-directory": self._backends(),
            "grpc-address": f"unix:{self._socket}",
            "grpc-port": NUMBER,
            "allow-http": "false",
            "allow-metrics": "false",
            # A model that cannot be loaded is reported, and the others are served.
            "exit-on-error": "false",
            "strict-readiness": "false",
            "exit-timeout-secs": 5,
            "backend-config": f"python,shm-region-prefix-name={self.prefix}",
        }
        own = self._settings.repository
        # The server runs in another folder.
        further = [f"--model-repository={own.absolute()}"] if own else []
        return Launch(
            [
                str(self._installation.program),
                *(f"--{name}={value}" for name, value in flags.items()),
                *further,
                *(f"--load-model={name}" for name in load),
            ],
            env=self._installation.environment,
            bare=True,
            cwd=self._folder,
        )

    async def close(self) -> None:
        """Close the connection, and remove what a killed server left."""
        await super().close()
        self._remove_leftovers()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def _backends(self) -> Path:
        """The folder of the Python backend, with the stub for this version of Python."""
        folder = self._folder / "backends"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "python").mkdir(parents=True)
        for file in (*(self._installation.server / "backends" / "python").iterdir(), self._installation.stub):
            (folder / "python" / file.name).symlink_to(file)
        return folder

    def _remove_leftovers(self) -> None:
        # A model's process that waits for its server may not notice that the server has gone.
        for process in psutil.process_iter(["cmdline"]):
            if any(word.startswith(self.prefix) for word in process.info["cmdline"] or ()):
                with suppress(psutil.Error):
                    process.kill()
        Path(f"{self._socket}:{NUMBER}").unlink(missing_ok=True)
        for region in SHARED_MEMORY.glob(f"{self.prefix}*"):
            region.unlink(missing_ok=True)
