"""What goes wrong with a model's server reaches every client as a typed error in time, leaves one row in the ledger,
and nothing behind.
"""

import uuid
from asyncio import get_running_loop
from dataclasses import dataclass

import grpc
import httpx
import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.testing.dialects import Behaviour, Fault
from services.mesh.testing.upstreams import FakeUpstream
from services.mesh.testing.waiting import until
from tests.e2e.scripted import ABSENT, CLAUDE, PATIENCE_SECONDS
from tests.e2e.stack import Stack
from tests.e2e.surfaces import heard, over_grpc, over_openai, speaking, usage

# A fault is told at once, or when patience has ended; this much later at most, on a busy machine.
GRACE_SECONDS = 2.0
SURFACES = ("grpc", "openai", "rest")
# A fault that leaves something behind on one surface does so in every round; a pool may open a connection or two.
ROUNDS, POOLED = 8, 4


@dataclass(frozen=True)
class Expected:
    """How a fault reads: gRPC's code, HTTP's status before the stream has begun, the reason everywhere."""

    code: str
    status: int
    reason: str
    retry_after: float | None = None


# Before the first piece of the answer: the call's own status.
REFUSALS = {
    Fault.RESET: Expected("UNAVAILABLE", 503, "PROVIDER_UNAVAILABLE"),
    Fault.HANG: Expected("UNAVAILABLE", 503, "PROVIDER_TIMEOUT"),
    Fault.NOT_HTTP: Expected("UNAVAILABLE", 503, "PROVIDER_PROTOCOL_ERROR"),
    Fault.GARBAGE: Expected("UNAVAILABLE", 503, "PROVIDER_PROTOCOL_ERROR"),
    Fault.NOT_A_STREAM: Expected("UNAVAILABLE", 503, "PROVIDER_PROTOCOL_ERROR"),
    Fault.RATE_LIMITED: Expected("RESOURCE_EXHAUSTED", 429, "PROVIDER_RATE_LIMITED", 7),
    Fault.OVERLOADED: Expected("UNAVAILABLE", 503, "PROVIDER_UNAVAILABLE", 7),
    Fault.BROKEN: Expected("UNAVAILABLE", 503, "PROVIDER_UNAVAILABLE"),
    Fault.UNAUTHORIZED: Expected("FAILED_PRECONDITION", 400, "PROVIDER_CREDENTIAL_REFUSED"),
    Fault.UNKNOWN_MODEL: Expected("NOT_FOUND", 404, "MODEL_NOT_FOUND"),
    Fault.BAD_REQUEST: Expected("INVALID_ARGUMENT", 400, "PROVIDER_REFUSED_REQUEST"),
}
# After it: the last event of a stream that is 200 already.
INTERRUPTIONS = {
    Fault.HANG_MID: Expected("UNAVAILABLE", 200, "PROVIDER_TIMEOUT"),
    Fault.RESET_MID: Expected("UNAVAILABLE", 200, "PROVIDER_STREAM_CUT"),
    Fault.CUT_MID: Expected("UNAVAILABLE", 200, "PROVIDER_STREAM_CUT"),
    Fault.GARBAGE_MID: Expected("UNAVAILABLE", 200, "PROVIDER_PROTOCOL_ERROR"),
    Fault.ERROR_MID: Expected("UNAVAILABLE", 200, "PROVIDER_UNAVAILABLE"),
}
# OpenAI's clients look for this code, whatever the reason was.
OPENAI_REASONS = {"PROVIDER_RATE_LIMITED": "RATE_LIMIT_EXCEEDED"}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("fault", [*REFUSALS, *INTERRUPTIONS], ids=lambda fault: fault.name)
async def test_a_fault_is_a_typed_error_in_time_and_a_row_in_the_ledger(
    stack: Stack,
    http: httpx.AsyncClient,
    channel: grpc.aio.Channel,
    upstream: FakeUpstream,
    fault: Fault,
    surface: str,
) -> None:
    expected = REFUSALS.get(fault) or INTERRUPTIONS[fault]
    upstream.behaviour = Behaviour(fault=fault, pause=0.02)
    conversation = f"fault-{uuid.uuid4()}"
    began = get_running_loop().time()
    turn = await speaking(surface, stack, http, channel)("hello", conversation=conversation)
    seconds = get_running_loop().time() - began

    assert not turn.finished
    assert turn.text == ("Hello" if fault in INTERRUPTIONS else "")
    assert turn.status == (expected.code if surface == "grpc" else expected.status)
    reason = OPENAI_REASONS.get(expected.reason, expected.reason) if surface == "openai" else expected.reason
    assert turn.reason == reason
    if expected.retry_after is not None:
        assert turn.retry_after == expected.retry_after
    assert seconds < (PATIENCE_SECONDS if "HANG" in fault.name else 0) + GRACE_SECONDS
    (row,) = await usage(channel, stack, conversation)
    assert row.outcome == UsageRecord.OUTCOME_FAILED
    assert row.error_reason == expected.reason
    await upstream.until(open=0)


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_provider_that_is_not_there_is_unavailable_at_once(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, surface: str
) -> None:
    conversation = f"absent-{uuid.uuid4()}"
    began = get_running_loop().time()
    turn = await speaking(surface, stack, http, channel)("hello", model=ABSENT, conversation=conversation)
    assert get_running_loop().time() - began < GRACE_SECONDS
    assert (turn.status, turn.reason) == ("UNAVAILABLE" if surface == "grpc" else 503, "PROVIDER_UNAVAILABLE")
    (row,) = await usage(channel, stack, conversation)
    assert (row.outcome, row.error_reason) == (UsageRecord.OUTCOME_FAILED, "PROVIDER_UNAVAILABLE")


@pytest.mark.parametrize("surface", SURFACES)
async def test_an_answer_that_trickles_byte_by_byte_arrives_whole(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream, surface: str
) -> None:
    upstream.behaviour = Behaviour(fault=Fault.TRICKLE, deltas=("grüße ", "aus ", "Łódź"))
    turn = await speaking(surface, stack, http, channel)("hello")
    assert (turn.finished, turn.text, turn.reason) == (True, "grüße aus Łódź", "")


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.ERROR_MID, Fault.RESET_MID])
async def test_anthropics_faults_read_the_same(
    stack: Stack, channel: grpc.aio.Channel, anthropic: FakeUpstream, fault: Fault
) -> None:
    expected = REFUSALS.get(fault) or INTERRUPTIONS[fault]
    anthropic.behaviour = Behaviour(fault=fault, pause=0.02)
    turn = await over_grpc(channel, stack, "hello", model=CLAUDE)
    assert (turn.status, turn.reason, turn.retry_after) == (expected.code, expected.reason, expected.retry_after)


async def test_an_answer_that_was_cut_is_not_remembered_as_one(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    conversation = f"cut-{uuid.uuid4()}"
    upstream.behaviour = Behaviour(fault=Fault.CUT_MID, pause=0.02)
    assert not (await over_grpc(channel, stack, "first", conversation=conversation)).finished
    upstream.behaviour = Behaviour()
    assert (await over_grpc(channel, stack, "second", conversation=conversation)).finished
    assert heard(upstream) == [("user", "second")]


async def test_faults_leave_no_call_no_connection_and_no_descriptor_behind(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    serve = stack.process("serve")

    async def all_faults() -> None:
        for fault in (*REFUSALS, *INTERRUPTIONS):
            # The two that wait for patience to end have tests of their own.
            if "HANG" not in fault.name:
                upstream.behaviour = Behaviour(fault=fault, pause=0.002)
                assert not (await over_grpc(channel, stack, "hello")).finished
                assert not (await over_openai(http, "hello")).finished
        upstream.behaviour = Behaviour()
        assert (await over_grpc(channel, stack, "hello")).finished

    async def quiet() -> bool:
        return await stack.measured("rpc_server_active_calls") == resting and upstream.open == 0

    await all_faults()
    resting = await stack.measured("rpc_server_active_calls")
    descriptors, connections = serve.num_fds(), upstream.connections
    for _ in range(ROUNDS):
        await all_faults()
    await until(quiet)

    async def closed() -> bool:
        return serve.num_fds() < descriptors + POOLED and upstream.connections < connections + POOLED

    await until(closed)
