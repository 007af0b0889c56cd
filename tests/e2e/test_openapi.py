"""Requests that the OpenAPI document allows, and many that it does not, are answered as the document says."""

import json
import re
from pathlib import Path

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.stack import SOMA, Stack, command
from tests.size import Size

# These checks are off. The server also refuses requests for reasons that a schema cannot express (other tests have
# bodies that break the schema), and ids from one answer are not used in other requests.
OFF = ("negative_data_rejection", "missing_required_header", "use_after_free", "ensure_resource_availability")
# These operations refuse some requests that fit their schema: parameters that need other parameters, kinds of sessions
# without a template, a status that cannot follow the current one, whole numbers in free-form objects that JSON readers
# would round, and requests that the model cannot fulfil. A WebSocket needs another protocol. Lists refuse page tokens
# that they did not return (see `paged`).
PARTICULAR = (
    *("createChatCompletion", "createCompletion", "createResponse", "compactResponse", "countInputTokens"),
    *("createEmbedding", "listInputItems", "connectLogs"),
    *("createMessage", "countMessageTokens", "soma.model.v1.ModelService.CountTokens"),
    *(f"soma.memory.v1.MemoryService.{name}" for name in ("AppendMessages", "Remember", "Retrieve")),
    "soma.policy.v1.PolicyService.Evaluate",
    *(
        "soma.model.v1.ModelService.Generate",
        "soma.model.v1.ModelService.Infer",
        "soma.model.v1.ModelService.Embed",
        "soma.orchestrator.v1.ChatService.Chat",
    ),
    *(f"soma.orchestrator.v1.ChatSessionService.{name}" for name in ("CreateChatSession", "SendChatMessage")),
    "soma.orchestrator.v1.ChatSessionService.SetChatSessionStatus",
    *(f"soma.orchestrator.v1.ResponseService.{name}Response" for name in ("Create", "Compact")),
    "soma.orchestrator.v1.ResponseService.CountResponseTokens",
    # Tiers are named in the settings.
    *(f"soma.identity.v1.TenantService.{name}Tenant" for name in ("Create", "Update")),
    "soma.identity.v1.ServiceAccountService.CreateServiceAccount",
    # No model of this stack can do these.
    *("createSpeech", "createTranscription", "createTranslation", "createImage", "createImageEdit"),
    *("createModeration", "rerankDocuments", "rerankDocuments2"),
    *(f"soma.model.v1.ModelService.{name}" for name in ("Moderate", "Rerank")),
    *(
        f"soma.model.v1.MediaService.{name}"
        for name in ("Transcribe", "Translate", "Speak", "GenerateImage", "EditImage")
    ),
)
# QUERY is left out: without a body it is not valid HTTP.
METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE")
DOCUMENT = Path(__file__).parents[2] / "gen/openapi.json"


def paged() -> list[str]:
    """The ids of the operations that take a page token."""
    operations = [
        operation
        for methods in json.loads(DOCUMENT.read_text())["paths"].values()
        for operation in methods.values()
        if isinstance(operation, dict)
    ]
    return [
        operation["operationId"]
        for operation in operations
        if any(parameter.get("name") == "page_token" for parameter in operation.get("parameters", ()))
    ]


def configuration() -> str:
    """The fuzzer's configuration file."""
    return f"""
[phases.coverage]
unexpected-methods = {json.dumps(METHODS)}

[checks]
{chr(10).join(f"{check}.enabled = false" for check in OFF)}

[[operations]]
include-operation-id = {json.dumps([*PARTICULAR, *paged()])}
checks.positive_data_acceptance.enabled = false
"""


async def test_requests_generated_from_the_document_are_answered_as_it_says(
    stack: Stack, upstream: FakeUpstream, tmp_path: Path, size: Size
) -> None:
    # This answer fits most schemas of requests for structured output.
    upstream.behaviour = Behaviour(deltas=("{}",))
    (tmp_path / "schemathesis.toml").write_text(configuration())
    ended = await command(
        SOMA.with_name("schemathesis"),
        *("run", f"{stack.url}/openapi.json", "--header", f"Authorization: Bearer {stack.key}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(size.of(8, full=500))),
        *("--max-time", str(size.of(25, full=1800)), "--request-timeout", "20", "--no-shrink"),
        *("--generation-database", "none", "--continue-on-failure", "--no-color"),
        # A full run tries other requests each time, and prints its seed when a check fails.
        *(() if size.full else ("--seed", "1")),
        cwd=tmp_path,
        seconds=size.of(100, full=2400),
    )
    # The status is 0 only if no check failed. Warnings name what could not be tried, such as ids that do not exist.
    assert ended.status == 0, ended.output[-30_000:] + ended.errors
    counted = re.search(r"(\d+) generated, (\d+) passed", ended.output)
    assert counted is not None, ended.output[-2000:]
    assert counted[1] == counted[2]
    assert int(counted[2]) > 100
