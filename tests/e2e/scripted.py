"""The configuration of a test's stack: two scripted providers, one that never answers, and short time limits."""

from pathlib import Path

from services.model.testing.dialects import AnthropicDialect
from services.model.testing.upstreams import FakeUpstream

MODEL = "fake-large"
CLAUDE = "fake-claude"
ABSENT = "absent-model"
# Longer than any answer of a healthy fake on a busy machine, and short enough for a test to wait.
PATIENCE_SECONDS = 3.0
# For an answer in one piece, which tests hold back while they do something else.
WHOLE_SECONDS = 10.0
# Calls in flight per service; only the test of this limit makes more.
MOST_REQUESTS = 100
# Of the text of an answer; answers that a test reads to their end are shorter.
MOST_BYTES = 100_000

SOMA_TOML = """
max_requests = {most}

[model]
catalogue = "{catalogue}"
ollama_url = ""
connect_timeout = 0.5
first_byte_timeout = {patience}
whole_timeout = {whole}
idle_timeout = {patience}
refresh_interval = 3600
answer_limit_bytes = {most_bytes}
heartbeat_interval = {heartbeat}

[orchestrator]
heartbeat_interval = {heartbeat}
memory_patience_seconds = {memory_patience}
"""

CATALOGUE = """
default = "fake-large"

[[provider]]
name = "scripted"
base_url = "{openai}/v1"

[[provider]]
name = "claude"
kind = "anthropic"
base_url = "{anthropic}"
models = ["fake-claude"]

[[provider]]
name = "absent"
base_url = "http://127.0.0.1:9/v1"
models = ["absent-model"]
"""


def claude() -> FakeUpstream:
    """A provider that speaks Anthropic's protocol."""
    return FakeUpstream(AnthropicDialect(), models=(CLAUDE,))


def configure(
    directory: Path,
    openai: FakeUpstream,
    anthropic: FakeUpstream,
    *,
    patience: float = PATIENCE_SECONDS,
    memory_patience: float = 15.0,
    heartbeat: float = 15.0,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Write `soma.toml` and its catalogue into `directory`."""
    catalogue = directory / "catalogue.toml"
    catalogue.write_text(CATALOGUE.format(openai=openai.url, anthropic=anthropic.url))
    settings = SOMA_TOML.format(
        catalogue=catalogue,
        patience=patience,
        whole=max(patience, WHOLE_SECONDS),
        memory_patience=memory_patience,
        heartbeat=heartbeat,
        most=MOST_REQUESTS,
        most_bytes=most_bytes,
    )
    (directory / "soma.toml").write_text(settings)
