"""Reasons in the code are compared with the declared reasons."""

import pytest
from soma.errors.v1.reasons import Declared

from tools.raised_reasons import findings

REASONS = {
    "DISK_FULL": Declared("UNAVAILABLE", 503, "AFTER_CHANGE"),
    "NO_NOTE": Declared("NOT_FOUND", 404, "NO"),
    "UNAVAILABLE": Declared("UNAVAILABLE", 503, "LATER"),
}
ALL_RAISED = """
def f():
    raise errors.Unavailable("full", reason=reasons.DISK_FULL)
    raise NotFound("none", reason=reasons.NO_NOTE)
    raise Unavailable("gone", reason=reasons.UNAVAILABLE)
"""
HANDED_ON = """
def refuse(message, reason):
    raise errors.Unavailable(message, reason=reason)

def _passed(reason, message):
    refuse(message, reason)
"""


def found(source: str, name: str = "services/x/y.py", lua: str = "") -> list[str]:
    return findings({name: source, "services/x/raised.py": ALL_RAISED}, REASONS, {"gateway/xds/z.lua": lua})


def test_a_reason_with_its_declared_status_is_fine() -> None:
    assert found("") == []


@pytest.mark.parametrize(
    "source",
    [
        'errors.NotFound("none", reason="NO_NOTE")',
        'errors.NotFound("none", reason="NEW_ONE")',
        'errors.NotFound("none", reason=f"{kind}_MISSING")',
        'errors.NotFound("none", reason=kind + "_MISSING")',
        'errors.Unavailable("gone", reason="UNAVAILABLE")',
        'StreamError(code=Code.NOT_FOUND, reason="NEW_ONE")',
        'class Gone(MeshError):\n    reason = "NEW_ONE"',
        'table = {404: ("NO_NOTE", "none")}',
        'if error.reason == "NO_NOTE": pass',
        HANDED_ON + 'refuse("full", "NEW_ONE")',
        HANDED_ON + '_passed("NEW_ONE", "full")',
    ],
)
def test_a_reason_written_as_text_is_refused(source: str) -> None:
    (line,) = found(source)
    assert "is a literal" in line


def test_the_name_of_a_status_is_no_reason_by_itself() -> None:
    assert found('statuses = {"UNAVAILABLE": 503}') == []


@pytest.mark.parametrize(
    "source",
    [
        'errors.NotFound("full", reason=reasons.DISK_FULL)',
        'relayed(Code.ABORTED, "full", reason=reasons.DISK_FULL, facts=facts)',
        'StreamError(code=Code.ABORTED, status="ABORTED", reason=reasons.DISK_FULL)',
        'UnavailableError("none", reason=reasons.NO_NOTE, status="UNAVAILABLE")',
        "class Gone(MeshError):\n    code = Code.ABORTED\n    reason = reasons.DISK_FULL",
        'errors.NotFound("full", reason=reasons.DISK_FULL if full else reasons.NO_NOTE)',
        HANDED_ON + 'refuse("none", reasons.NO_NOTE)',
        HANDED_ON + 'refuse("none", reason=reasons.NO_NOTE)',
        HANDED_ON + '_passed(reasons.NO_NOTE, "none")',
        HANDED_ON + 'TABLE = ((404, (reasons.NO_NOTE, "none")),)',
    ],
)
def test_a_reason_with_another_status_than_declared_is_refused(source: str) -> None:
    (line,) = found(source)
    assert "is declared with" in line


def test_a_function_of_another_module_that_passes_a_reason_on_is_followed() -> None:
    used = 'values.refuse("none", reasons.NO_NOTE)'
    sources = {"gateway/a.py": HANDED_ON, "gateway/b.py": used, "services/x/raised.py": ALL_RAISED}
    (line,) = findings(sources, REASONS, {})
    assert line.startswith("gateway/b.py:1: NO_NOTE is declared with NOT_FOUND")


def test_a_reason_that_no_contract_declares_is_refused() -> None:
    (line,) = found('errors.NotFound("none", reason=reasons.NEW_ONE)')
    assert "NEW_ONE is not declared" in line


@pytest.mark.parametrize(
    "source",
    [
        "",
        "if error.reason == reasons.NO_NOTE: pass",
        "SILENT = frozenset({reasons.NO_NOTE})",
        "STATUSES = {reasons.NO_NOTE: 404}",
        'log.warning("none", reason=reasons.NO_NOTE)',
    ],
)
def test_a_declared_reason_that_is_only_compared_is_refused(source: str) -> None:
    declared = {"NO_NOTE": REASONS["NO_NOTE"]}
    assert findings({"services/x/y.py": source}, declared, {}) == [
        "NO_NOTE: declared, but no code raises it; delete it"
    ]


@pytest.mark.parametrize("name", ["services/x/y.py", "gateway/x.py", "cli/x.py", "services/mesh/transport/router.py"])
@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept grpc.aio.AioRpcError:\n    pass",
        "isinstance(error, (OSError, aio.AioRpcError))",
        "from grpc.aio import AioRpcError as Failed",
        "try:\n    f()\nexcept grpc.RpcError:\n    pass",
        "def f(error: grpc.aio.AioRpcError) -> None: ...",
    ],
)
def test_the_error_of_grpc_is_refused_outside_the_boundary(source: str, name: str) -> None:
    (line,) = found(source, name)
    assert "is gRPC's" in line


@pytest.mark.parametrize(
    "name", ["services/mesh/call/boundary.py", "services/mesh/call/status.py", "sdk/python/src/x.py"]
)
def test_the_error_of_grpc_is_allowed_where_it_is_translated(name: str) -> None:
    assert found("try:\n    f()\nexcept grpc.aio.AioRpcError:\n    pass", name) == []


def test_the_command_line_has_reasons_of_its_own() -> None:
    assert found('errors.NotFound("none", reason="NEW_ONE")', "cli/x.py") == []


def test_the_command_line_may_not_write_a_declared_reason_as_text() -> None:
    (line,) = found('errors.NotFound("none", reason="NO_NOTE")', "cli/x.py")
    assert line.startswith("cli/x.py:1: 'NO_NOTE' is a literal")


@pytest.mark.parametrize(
    ("lua", "why"),
    [
        ('refuse("NEW_ONE", "why")', "NEW_ONE is not declared"),
        (
            'local refused = { reason = "NO_NOTE" }',
            "NO_NOTE is declared with NOT_FOUND, but has INVALID_ARGUMENT",
        ),
        ('{ 413, "DISK_FULL", "full" }', "DISK_FULL is declared with UNAVAILABLE, but has HTTP 413"),
    ],
)
def test_the_reasons_of_envoy_must_be_declared_too(lua: str, why: str) -> None:
    (line,) = found("", lua=lua)
    assert line.startswith(f"gateway/xds/z.lua:1: {why}")


def test_a_reason_that_only_envoy_gives_counts_as_raised() -> None:
    declared = {"BAD_BODY": Declared("INVALID_ARGUMENT", 400, "NO")}
    assert findings({}, declared, {"gateway/xds/z.lua": 'refuse("BAD_BODY", "why")'}) == []
