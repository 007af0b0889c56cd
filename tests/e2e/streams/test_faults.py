"""What goes wrong with a model's server is told on every surface in its own words, and leaves nothing behind."""

import asyncio
from asyncio import get_running_loop
from dataclasses import dataclass

import pytest

from services.mesh.testing.dialects import Behaviour, Fault
from services.mesh.testing.upstreams import FakeUpstream
from tests.e2e.scripted import ABSENT, MOST_BYTES, PATIENCE_SECONDS
from tests.e2e.stack import Stack
from tests.e2e.streams.asked import Ask
from tests.e2e.streams.counts import Counts
from tests.e2e.streams.ending import Ending
from tests.e2e.streams.held import Held
from tests.e2e.streams.surfaces import STREAMED, WHOLE

# A fault is told at once, or when patience has ended; this much later at most, on a busy machine.
GRACE_SECONDS = 4.0
PIECE = "x" * 1000
# Pieces of an answer without an end, sent until it is cut off.
ENDLESS = [PIECE] * (20 * MOST_BYTES // len(PIECE))


@dataclass(frozen=True)
class Told:
    """A fault in the words of each surface.

    Attributes:
        code: gRPC's.
        http: the status of an answer that has not begun, or is asked for whole.
        reason: the mesh's.
        openai: the exception of OpenAI's client for such an answer, and of a stream that has not begun.
        python: the exception of the Python client.
        retry_after: what the provider said, where it did.
        code_openai: the `code` of OpenAI's error, where its clients look for another one than the reason.
        code_response: the `code` in a streamed response that fails on the way.
    """

    code: str
    http: int
    reason: str
    openai: str
    python: str
    retry_after: float | None = None
    code_openai: str = ""
    code_response: str = "SERVER_ERROR"


def unavailable(reason: str, retry_after: float | None = None) -> Told:
    """A provider that is not there, or does not do what it should."""
    return Told("UNAVAILABLE", 503, reason, "InternalServerError", "UnavailableError", retry_after)


# Before the first piece of the answer.
REFUSALS = {
    Fault.RESET: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.HANG: unavailable("PROVIDER_TIMEOUT"),
    Fault.NOT_HTTP: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.GARBAGE: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.NOT_A_STREAM: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.RATE_LIMITED: Told(
        "RESOURCE_EXHAUSTED", 429, "PROVIDER_RATE_LIMITED", "RateLimitError", "RateLimitError", 7, "RATE_LIMIT_EXCEEDED"
    ),
    Fault.OVERLOADED: unavailable("PROVIDER_UNAVAILABLE", 7),
    Fault.BROKEN: unavailable("PROVIDER_UNAVAILABLE"),
    Fault.UNAUTHORIZED: Told(
        "FAILED_PRECONDITION", 400, "PROVIDER_CREDENTIAL_REFUSED", "BadRequestError", "InvalidRequestError"
    ),
    Fault.UNKNOWN_MODEL: Told("NOT_FOUND", 404, "MODEL_NOT_FOUND", "NotFoundError", "NotFoundError"),
    Fault.BAD_REQUEST: Told(
        "INVALID_ARGUMENT", 400, "PROVIDER_REFUSED_REQUEST", "BadRequestError", "InvalidRequestError"
    ),
}
# After it; a stream is 200 already.
INTERRUPTIONS = {
    Fault.HANG_MID: unavailable("PROVIDER_TIMEOUT"),
    Fault.RESET_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.CUT_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.TORN_MID: unavailable("PROVIDER_STREAM_CUT"),
    Fault.GARBAGE_MID: unavailable("PROVIDER_PROTOCOL_ERROR"),
    Fault.ERROR_MID: unavailable("PROVIDER_UNAVAILABLE"),
}
SURFACES = {**STREAMED, **WHOLE}
ASK = Ask()


async def on_every_surface(stack: Stack, ask: Ask = ASK) -> dict[str, Ending]:
    """How the same question ends on each, asked on all of them at once."""
    held = [Held(name, read(stack, ask)) for name, read in SURFACES.items()]
    return {client.name: await client.ended() for client in held}


def expected(surface: str, told: Told, *, begun: bool) -> tuple[int | str, str, str]:
    """Status, reason and exception of a fault on a surface; `begun` if some of the answer has been told."""
    streamed = begun and surface in STREAMED
    if surface.startswith("OpenAI"):
        if not streamed:
            return told.http, told.code_openai or told.reason, told.openai
        if "response" in surface:
            return 200, told.code_response, "Refused"
        return 200, told.code_openai or told.reason, "APIError"
    if surface == "Python client":
        return told.code, told.reason, told.python
    if surface.startswith("native"):
        return told.code, told.reason, "AioRpcError"
    if surface == "grpc-web":
        return told.code, told.reason, "Refused"
    return 200 if streamed else told.http, told.reason, "Refused"


def check(endings: dict[str, Ending], told: Told, *, begun: bool) -> None:
    """Each surface says what it should, and no answer passes for a whole one."""
    assert {name: (end.status, end.reason, end.raised) for name, end in endings.items()} == {
        name: expected(name, told, begun=begun) for name in endings
    }
    assert not any(end.finished for end in endings.values())
    if told.retry_after is not None:
        assert {name: end.retry_after for name, end in endings.items()} == dict.fromkeys(endings, told.retry_after)
    if told.http in (429, 503) and not begun:
        # Otherwise OpenAI's client would wait for a time of its own choice.
        assert all(end.retry_after for name, end in endings.items() if name.startswith("OpenAI"))


@pytest.mark.parametrize("fault", [*REFUSALS, *INTERRUPTIONS], ids=lambda fault: fault.name)
async def test_a_fault_is_told_on_every_surface_in_time(stack: Stack, upstream: FakeUpstream, fault: Fault) -> None:
    upstream.behaviour = Behaviour(fault=fault, pause=0.02)
    began = get_running_loop().time()
    endings = await on_every_surface(stack)
    seconds = get_running_loop().time() - began
    begun = fault in INTERRUPTIONS
    check(endings, (INTERRUPTIONS if begun else REFUSALS)[fault], begun=begun)
    told = {name: end.text for name, end in endings.items()}
    assert told == {name: "Hello" if begun and name in STREAMED else "" for name in endings}
    assert seconds < (PATIENCE_SECONDS if "HANG" in fault.name else 0) + GRACE_SECONDS
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)


async def test_a_provider_that_refuses_connections_is_told_at_once(stack: Stack) -> None:
    began = get_running_loop().time()
    endings = await on_every_surface(stack, Ask(model=ABSENT))
    assert get_running_loop().time() - began < GRACE_SECONDS
    check(endings, unavailable("PROVIDER_UNAVAILABLE"), begun=False)


async def test_an_answer_without_an_end_is_cut_off(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=ENDLESS, pause=0.001)
    endings = await on_every_surface(stack)
    check(endings, unavailable("PROVIDER_ENDLESS"), begun=True)
    assert all(0 < len(end.text) <= MOST_BYTES for name, end in endings.items() if name in STREAMED)
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)


async def test_an_answer_that_trickles_byte_by_byte_arrives_whole(stack: Stack, upstream: FakeUpstream) -> None:
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
            # The two that wait for patience to end have tests of their own.
            if "HANG" not in fault.name:
                upstream.behaviour = Behaviour(fault=fault, pause=0.002)
                assert not any(end.finished for end in (await on_every_surface(stack)).values())

    await all_faults()
    resting = await Counts.of(stack)
    await all_faults()
    await resting.restored(stack)
