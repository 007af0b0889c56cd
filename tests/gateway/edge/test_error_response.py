"""Errors of the mesh as HTTP, in the shape of a surface."""

import json

import pytest

from gateway.edge.error_response import in_shape
from services.mesh.call.errors import MeshError, NotFound, ResourceExhausted, Unavailable, Unimplemented
from services.mesh.surfaces.error_shape import ErrorShape

SHAPE = ErrorShape(
    {"type": "error", "error": {"type": "{kind}", "message": "{message}", "why": "{reason}"}, "at": "{field}"},
    kinds={400: "yours", 500: "ours", 529: "overloaded"},
    statuses={503: 529},
    headers={"request-id": "{request_id}"},
)


def stated(error: MeshError) -> tuple[int, object, dict[str, str]]:
    """An error's status, its JSON, and its headers."""
    failed = in_shape(error, SHAPE, reason=error.reason, message=error.message, field=None, request_id="r-1")
    return failed.status, json.loads(failed.body), {name.decode(): value.decode() for name, value in failed.headers}


def test_an_error_has_the_surfaces_status_shape_and_headers() -> None:
    status, body, headers = stated(Unavailable("nobody is there", reason="NO_LIVE_INSTANCE"))
    error = {"type": "overloaded", "message": "nobody is there", "why": "NO_LIVE_INSTANCE"}
    assert (status, body) == (529, {"type": "error", "error": error, "at": None})
    assert headers == {"request-id": "r-1", "retry-after": "1"}


@pytest.mark.parametrize(("seconds", "header"), [(None, "1"), (0.2, "1"), (2.1, "3")])
def test_an_error_that_may_be_retried_has_a_retry_after_header(seconds: float | None, header: str) -> None:
    error = ResourceExhausted("too many", reason="TOO_MANY_REQUESTS")
    error.facts.retry_after = seconds
    assert stated(error)[2]["retry-after"] == header


def test_a_405_lists_the_allowed_methods() -> None:
    error = Unimplemented("not so", reason="METHOD_NOT_SUPPORTED", metadata={"allow": "GET, POST"})
    status, _, headers = stated(error)
    assert (status, headers) == (405, {"request-id": "r-1", "allow": "GET, POST"})


def test_an_undeclared_reason_gets_the_http_status_of_its_code() -> None:
    assert stated(NotFound("no", reason="NOBODY_KNOWS"))[0] == 404
