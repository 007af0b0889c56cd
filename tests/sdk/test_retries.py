"""A call is retried after a temporary failure, if it is repeatable, and only before its deadline."""

import time

import pytest
import somamesh
from hypothesis import given
from hypothesis import strategies as st
from somamesh.exceptions import APIError
from somamesh.generated import chat_session_service as sessions
from somamesh.retries import Retries

from services.mesh.call import errors
from tests.sdk.conftest import KEY, Server
from tests.sdk.drivers import Driver, driving

RETRIED = [
    ("remember", ("k", 1)),
    ("recall", ("k",)),
    ("retrieve", ("k",)),
    ("forget", ("k",)),
    ("create_conversation", ("Hi",)),
    ("append_messages", ("c1", "Hi")),
    ("delete_conversation", ("c1",)),
    ("get_context", ("c1",)),
    ("embed", ("Hi",)),
    ("count_tokens", ("Hi",)),
    ("list_models", ()),
    ("evaluate_policy", ("chat.input",)),
]


def failure_with(status: str, retry_after: float | None = None) -> APIError:
    return APIError("no", reason="R", status=status, request_id="r", retry_after=retry_after)


@pytest.mark.parametrize(("name", "args"), RETRIED)
@pytest.mark.parametrize("failure", [errors.Unavailable("no"), errors.ResourceExhausted("no", retry_after=0.01)])
async def test_a_repeatable_call_is_retried(
    server: Server, client: Driver, name: str, args: tuple[object, ...], failure: errors.MeshError
) -> None:
    await client.call("remember", "k", 1)
    server.trouble.requests.clear()
    server.trouble.failures.append(failure)
    await client.call(name, *args)
    first, second = server.trouble.requests
    assert first == second


async def test_the_request_id_of_an_effect_is_the_same_in_each_attempt_and_new_in_each_call(
    server: Server, client: Driver
) -> None:
    server.trouble.failures.append(errors.Aborted("no"))
    await client.call("append_messages", "c1", "Hi")
    await client.call("append_messages", "c1", "Hi")
    ids = [getattr(request, "request_id", "") for request in server.trouble.requests]
    assert ids[0] == ids[1] != ids[2]


async def test_a_page_of_a_list_is_retried(server: Server, client: Driver) -> None:
    server.trouble.failures.append(errors.Unavailable("no"))
    assert len(await client.items("list_usage")) == 3


async def test_a_call_that_is_not_repeatable_is_never_retried(server: Server, client: Driver) -> None:
    for name in ("infer", "generate"):
        server.trouble.requests.clear()
        server.trouble.failures.append(errors.Unavailable("no", retry_after=0.01))
        with pytest.raises(somamesh.UnavailableError):
            await client.call(name, "Hi")
        assert len(server.trouble.requests) == 1


def test_a_call_with_an_etag_is_not_retried() -> None:
    assert sessions.set_session_status("s", "paused").repeatable
    assert not sessions.set_session_status("s", "paused", etag="e").repeatable
    assert not sessions.delete_session("s").repeatable


@pytest.mark.parametrize(
    "failure",
    [
        errors.NotFound("no"),
        errors.InvalidArgument("no"),
        errors.Internal("no"),
        errors.ResourceExhausted("too large"),
        errors.Aborted("read too long ago", reason="ETAG_MISMATCH"),
    ],
)
async def test_a_permanent_failure_is_raised_at_once(server: Server, client: Driver, failure: errors.MeshError) -> None:
    server.trouble.failures.append(failure)
    with pytest.raises(APIError):
        await client.call("recall", "k")
    assert len(server.trouble.requests) == 1


async def test_a_retry_waits_as_long_as_the_mesh_asks(server: Server, client: Driver) -> None:
    server.trouble.failures.append(errors.Unavailable("no", retry_after=0.3))
    began = time.monotonic()
    await client.call("list_models")
    assert 0.3 <= time.monotonic() - began < 15


async def test_a_call_fails_at_once_if_the_wait_is_longer_than_the_time_left(server: Server, client: Driver) -> None:
    server.trouble.failures.append(errors.ResourceExhausted("no", retry_after=60))
    began = time.monotonic()
    with pytest.raises(somamesh.RateLimitError) as caught:
        await client.call("list_models", timeout=15)
    assert caught.value.retry_after == 60
    assert time.monotonic() - began < 15
    assert len(server.trouble.requests) == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_caller_sets_the_number_of_retries(server: Server, kind: str) -> None:
    async with driving(kind, server.url, KEY, max_retries=2) as client:
        server.trouble.failures.extend([errors.Unavailable("no")] * 4)
        with pytest.raises(somamesh.UnavailableError):
            await client.call("list_models")
    assert len(server.trouble.requests) == 3


seconds = st.floats(0, 100)


@given(done=st.integers(0, 20), remaining=seconds, jitter=st.floats(0, 1, exclude_max=True), after=st.none() | seconds)
def test_a_wait_is_never_shorter_than_asked_nor_longer_than_there_is_time(
    done: int, remaining: float, jitter: float, after: float | None
) -> None:
    wait = Retries(10).wait(failure_with("UNAVAILABLE", after), done=done, remaining=remaining, jitter=jitter)
    if wait is None:
        assert done >= 10 or remaining <= (after or 0) + 5
    else:
        assert done < 10
        assert (after or 0) <= wait < remaining


def test_waits_grow_up_to_a_limit_and_vary_between_clients() -> None:
    def wait(done: int, jitter: float) -> float:
        seconds = Retries(10).wait(failure_with("ABORTED"), done=done, remaining=60, jitter=jitter)
        assert seconds is not None
        return seconds

    waits = [wait(done, 0.5) for done in range(9)]
    assert waits == sorted(waits)
    assert waits[0] < 0.1
    assert waits[-1] == waits[-2] < 5
    assert wait(3, 0.1) < wait(3, 0.9)
