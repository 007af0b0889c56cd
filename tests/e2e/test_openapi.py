"""Whatever the OpenAPI document allows, and much it does not, is answered as the document says."""

import json
import re
from pathlib import Path

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.stack import SOMA, Stack, command
from tests.size import Size

# Off: what the schema cannot say of a request is refused too (bodies that break it are other tests'), and ids that were
# taken from one answer are not followed through others.
OFF = ("negative_data_rejection", "missing_required_header", "use_after_free", "ensure_resource_availability")
# These refuse some requests that fit their schema, for what they mean: parameters that need others beside them, kinds
# of sessions that no template has, a status that cannot follow the session's own, whole numbers in free-form objects
# that readers of JSON would round, what a model cannot do. A WebSocket is asked for by another protocol. Lists refuse
# page tokens that they did not give (see `paged`).
PARTICULAR = (
    *("createChatCompletion", "createResponse", "createEmbedding", "listInputItems", "connectLogs"),
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
    "soma.orchestrator.v1.ResponseService.CreateResponse",
)
# QUERY without a body is no HTTP, and answered as such.
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


async def test_requests_made_up_from_the_document_are_answered_as_it_says(
    stack: Stack, upstream: FakeUpstream, tmp_path: Path, size: Size
) -> None:
    # Which fits what most requests for structured output ask for.
    upstream.behaviour = Behaviour(deltas=("{}",))
    (tmp_path / "schemathesis.toml").write_text(configuration())
    ended = await command(
        SOMA.with_name("schemathesis"),
        *("run", f"{stack.url}/openapi.json", "--header", f"Authorization: Bearer {stack.key}"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(size.of(8, full=500))),
        *("--max-time", str(size.of(25, full=1800)), "--request-timeout", "20", "--no-shrink"),
        *("--generation-database", "none", "--continue-on-failure", "--no-color"),
        # A run at full size tries others each time, and says its seed when something fails.
        *(() if size.full else ("--seed", "1")),
        cwd=tmp_path,
        seconds=size.of(100, full=2400),
    )
    # 0 only when no check failed; what it merely warns of is what it could not try, such as ids that do not exist.
    assert ended.status == 0, ended.output[-30_000:] + ended.errors
    counted = re.search(r"(\d+) generated, (\d+) passed", ended.output)
    assert counted is not None, ended.output[-2000:]
    assert counted[1] == counted[2]
    assert int(counted[2]) > 100
