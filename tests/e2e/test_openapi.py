"""Whatever the OpenAPI document allows, and much it does not, is answered as the document says."""

import re
from pathlib import Path

import pytest

from tests.e2e.stack import SOMA, Stack, command

# No server error, no status that is not described, and no body or header of another shape than is described.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
)


@pytest.mark.timeout(240)
async def test_requests_made_up_from_the_document_are_answered_as_it_says(stack: Stack, tmp_path: Path) -> None:
    ended = await command(
        SOMA.with_name("schemathesis"),
        *("run", f"{stack.url}/openapi.json", "--header", f"Authorization: Bearer {stack.key}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "8"),
        *("--max-time", "60", "--request-timeout", "20", "--no-shrink", "--generation-database", "none"),
        *("--continue-on-failure", "--no-color"),
        cwd=tmp_path,
        seconds=200,
    )
    # 0 only when no check failed; what it merely warns of is what it could not try, such as ids that do not exist.
    assert ended.status == 0, ended.output[-6000:] + ended.errors
    counted = re.search(r"(\d+) generated, (\d+) passed", ended.output)
    assert counted is not None, ended.output[-2000:]
    assert counted[1] == counted[2]
    assert int(counted[2]) > 100
