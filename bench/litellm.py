"""The peer: LiteLLM's proxy with one key and no database, in a virtual environment of its own."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.programs import Missing, running
from bench.upstream import DELTAS
from cli.parts.part import Launch

PROGRAM = Path(__file__).parents[1] / ".tools" / "litellm" / "bin" / "litellm"
PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class LiteLlm:
    """A running proxy, and the seconds that its start took."""

    port: int
    pid: int
    key: str
    start_seconds: float


@asynccontextmanager
async def litellm(folder: Path, port: int, upstream: int, workers: int = 1, *options: str) -> AsyncIterator[LiteLlm]:
    """Run the proxy during a block, with further options of its command line.

    Raises:
        Missing: it is not installed.
    """
    if not PROGRAM.exists():
        raise Missing("LiteLLM is missing: make bench installs it")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "litellm.yaml"
    config.write_text(_config(upstream))
    command = [str(PROGRAM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    key = f"sk-{secrets.token_hex(16)}"
    launch = Launch(
        [*command, "--num_workers", str(workers), "--telemetry", "False", *options],
        # The price list comes from the package, not from the network; no tokenizer is downloaded; requests log no
        # warnings.
        env={
            "LITELLM_MASTER_KEY": key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOG": "ERROR",
        },
        cwd=folder,
    )
    started = time.perf_counter()
    async with running(launch, folder / "litellm.log", port, PATIENCE_SECONDS) as pid:
        yield LiteLlm(port, pid, key, time.perf_counter() - started)


def _config(upstream: int) -> str:
    lines = ["model_list:"]
    for model in DELTAS:
        lines += [
            f"  - model_name: {model}",
            "    litellm_params:",
            f"      model: openai/{model}",
            f"      api_base: http://127.0.0.1:{upstream}/v1",
            "      api_key: none",
        ]
    return "\n".join((*lines, ""))
