"""Every surface reports the faults of a model server in its own form, and nothing is left open."""

import asyncio
import uuid
from asyncio import get_running_loop
from collections.abc import Mapping

import grpc
import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.counts import Counts
from tests.e2e.scripted import ABSENT, CLAUDE, MODEL, MOST_BYTES, PATIENCE_SECONDS
from tests.e2e.stack import Stack
from tests.e2e.streams.ending import Ending
from tests.e2e.streams.faults import INTERRUPTIONS, REFUSALS, Report, expected, unavailable
from tests.e2e.streams.held import HeldStream
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import STREAMED, WHOLE
from tests.e2e.surfaces import over_grpc, received_messages, usage

# A fault is reported at once, or after the time limit; on a busy machine at most this much later.
GRACE_SECONDS = 10.0
PIECE = "x" * 1000
# Pieces of an answer that is too long, and is cut off.
ENDLESS = [PIECE] * (20 * MOST_BYTES // len(PIECE))


SURFACES = {**STREAMED, **WHOLE}
# Surfaces that can name a conversation; a session has its own.
NAMED = [name for name in SURFACES if name != "chat session"]


async def on_every_surface(
    stack: Stack, model: str = MODEL, conversations: Mapping[str, str] | None = None
) -> dict[str, Ending]:
    """Ask the same question on all surfaces at the same time; returns how each answer ended."""
    named = conversations or {}
    held = [
        HeldStream(name, read(stack, Ask(model=model, conversation=named.get(name, ""))))
        for name, read in SURFACES.items()
    ]
    return {client.name: await client.ended() for client in held}


def check(endings: dict[str, Ending], report: Report, *, begun: bool) -> None:
    """Check that each surface reports the fault, and that no answer looks complete."""
    assert {name: (end.status, end.reason, end.raised) for name, end in endings.items()} == {
        name: expected(name, report, begun=begun) for name in endings
    }
    assert not any(end.finished for end in endings.values())
    if report.retry_after is not None:
        assert {name: end.retry_after for name, end in endings.items()} == dict.fromkeys(endings, report.retry_after)
    if report.http in (429, 503) and not begun:
        # Without it, OpenAI's client would choose how long to wait.
        assert all(end.retry_after for name, end in endings.items() if name.startswith("OpenAI"))


@pytest.mark.parametrize("fault", [*REFUSALS, *INTERRUPTIONS], ids=lambda fault: fault.name)
async def test_a_fault_is_reported_on_every_surface_in_time_and_recorded_in_the_ledger(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream, fault: Fault
) -> None:
    upstream.behaviour = Behaviour(fault=fault, pause=0.02)
    conversations = {name: f"fault/{uuid.uuid4()}" for name in NAMED}
    began = get_running_loop().time()
    endings = await on_every_surface(stack, conversations=conversations)
    seconds = get_running_loop().time() - began
    begun = fault in INTERRUPTIONS
    report = (INTERRUPTIONS if begun else REFUSALS)[fault]
    check(endings, report, begun=begun)
    assert {name: end.text for name, end in endings.items()} == {
        name: "Hello" if begun and name in STREAMED else "" for name in endings
    }
    assert seconds < (PATIENCE_SECONDS if "HANG" in fault.name else 0) + GRACE_SECONDS
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)
    for conversation in conversations.values():
        (row,) = await usage(channel, stack, conversation)
        assert (row.outcome, row.error_reason) == (UsageRecord.OUTCOME_FAILED, report.reason)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.ERROR_MID, Fault.RESET_MID])
async def test_faults_of_anthropics_server_are_reported_in_the_same_way(
    stack: Stack, anthropic: FakeUpstream, fault: Fault
) -> None:
    anthropic.behaviour = Behaviour(fault=fault, pause=0.02)
    begun = fault in INTERRUPTIONS
    check(await on_every_surface(stack, CLAUDE), (INTERRUPTIONS if begun else REFUSALS)[fault], begun=begun)


async def test_an_answer_that_was_cut_off_is_not_remembered(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    conversation = f"cut/{uuid.uuid4()}"
    upstream.behaviour = Behaviour(fault=Fault.CUT_MID, pause=0.02)
    assert not (await over_grpc(channel, stack, "first", conversation=conversation)).finished
    upstream.behaviour = Behaviour()
    assert (await over_grpc(channel, stack, "second", conversation=conversation)).finished
    assert received_messages(upstream) == [("user", "second")]


async def test_a_provider_that_refuses_connections_is_reported_at_once(stack: Stack) -> None:
    began = get_running_loop().time()
    endings = await on_every_surface(stack, ABSENT)
    assert get_running_loop().time() - began < GRACE_SECONDS
    check(endings, unavailable("PROVIDER_UNAVAILABLE"), begun=False)


async def test_an_answer_without_an_end_is_cut_off(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=ENDLESS, pause=0.001)
    endings = await on_every_surface(stack)
    check(endings, unavailable("PROVIDER_ENDLESS"), begun=True)
    assert all(0 < len(end.text) <= MOST_BYTES for name, end in endings.items() if name in STREAMED)
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)


async def test_an_answer_that_arrives_byte_by_byte_is_complete(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(fault=Fault.TRICKLE, deltas=("grüße ", "aus ", "Łódź"))
    endings = await on_every_surface(stack)
    assert {name: (end.text, end.finished) for name, end in endings.items()} == dict.fromkeys(
        endings, ("grüße aus Łódź", True)
    )


async def test_faults_leave_no_call_no_task_no_socket_and_no_descriptor_behind(
    stack: Stack, upstream: FakeUpstream
) -> None:
    async def all_faults() -> None:
        for fault in (*REFUSALS, *INTERRUPTIONS):
            # The two faults that end with a time limit have their own tests.
            if "HANG" not in fault.name:
                upstream.behaviour = Behaviour(fault=fault, pause=0.002)
                assert not any(end.finished for end in (await on_every_surface(stack)).values())

    # Pools keep connections that were opened for many answers at the same time.
    await on_every_surface(stack)
    resting = await Counts.of(stack)
    await all_faults()
    await resting.restored(stack)
