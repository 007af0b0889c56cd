"""Errors are the same after a translation to `google.rpc.Status` and back."""

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call import errors
from services.mesh.call.status import from_rpc_error, from_status, to_status

FACTS = st.builds(
    errors.Facts,
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.none() | st.floats(0.001, 1e6),
    st.lists(st.builds(errors.FieldViolation, st.text(), st.text()), max_size=3).map(tuple),
)


@given(st.sampled_from(errors.Code), st.text(), st.text(min_size=1), FACTS)
def test_an_error_is_the_same_after_it_was_a_status(
    code: errors.Code, message: str, reason: str, facts: errors.Facts
) -> None:
    sent = errors.relayed(code, message, reason=reason, facts=facts)
    came = from_status(to_status(sent))
    assert (came.code, came.message, came.reason) == (code, message, reason)
    assert came.facts.metadata == facts.metadata
    assert came.facts.violations == facts.violations
    if facts.retry_after is None:
        assert came.facts.retry_after is None
    else:
        assert abs((came.facts.retry_after or 0) - facts.retry_after) < 1e-6


def test_a_status_has_exactly_one_error_info() -> None:
    status = to_status(errors.ResourceExhausted("full", retry_after=2.0))
    infos = [d for d in status.details if d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    info = error_details_pb2.ErrorInfo()
    assert len(infos) == 1
    infos[0].Unpack(info)
    assert (info.reason, info.domain) == ("LIMIT_REACHED", "soma")


def bare(code: grpc.StatusCode, text: str) -> grpc.aio.AioRpcError:
    """An error of gRPC itself."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), text)


def test_a_failure_without_details_is_named_by_its_status() -> None:
    error = from_rpc_error(bare(grpc.StatusCode.UNKNOWN, "who knows"))
    assert (error.code, error.reason, error.message) == (errors.Code.UNKNOWN, "UNKNOWN", "who knows")


def test_a_lost_instance_has_a_reason_and_its_address_is_not_sent() -> None:
    error = from_rpc_error(bare(grpc.StatusCode.UNAVAILABLE, "failed to connect to ipv4:10.1.2.3:4711"))
    assert (error.code, error.reason, error.facts.retry_after) == (errors.Code.UNAVAILABLE, "INSTANCE_LOST", 1.0)
    assert "10.1.2.3" not in error.message


@pytest.mark.parametrize(("violations", "length"), [(1000, 10), (1000, 200), (3, 10)])
def test_a_status_names_as_many_fields_as_trailers_have_room_for(violations: int, length: int) -> None:
    fields = [errors.FieldViolation(f"messages[{number}].content", "x" * length) for number in range(violations)]
    status = to_status(errors.InvalidArgument("no", violations=fields))
    named = from_status(status).facts.violations
    assert status.ByteSize() < 9_000
    assert named == tuple(fields[: len(named)])
    assert len(named) == violations if violations < 10 else len(named) >= 30
