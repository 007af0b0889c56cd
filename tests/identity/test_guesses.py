"""Guesses at keys and tokens are counted, and never keep out whoever has the right one."""

import secrets

import pytest
from soma.identity.v1 import auth_service_pb2 as pb

from services.identity import guesses
from services.identity.guesses import KEY_GUESSES, WINDOW_SECONDS, Guesses
from services.mesh.call import api_key, errors
from tests.identity.conftest import Identity, refused

WRONG = errors.Unauthenticated("wrong", reason="CREDENTIAL_INVALID")
REVOKED = errors.Unauthenticated("revoked", reason="CREDENTIAL_REVOKED")


class Clock:
    """The time of the counts."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def outcome(counted: Guesses, source: str, key_id: str = "", error: errors.MeshError | None = WRONG) -> str:
    """How a check ends that fails with an error, or succeeds."""
    try:
        with counted.counted(source, key_id):
            if error is not None:
                raise error
    except errors.MeshError as raised:
        return raised.reason
    return "right"


def test_guesses_from_one_address_are_throttled_and_others_are_not(clock: Clock) -> None:
    counted = Guesses(3, clock)
    assert [outcome(counted, "192.0.2.1") for _ in range(5)] == ["CREDENTIAL_INVALID"] * 3 + ["TOO_MANY_ATTEMPTS"] * 2
    assert outcome(counted, "192.0.2.2") == "CREDENTIAL_INVALID"


def test_guesses_at_one_key_are_throttled_from_wherever_they_come(clock: Clock) -> None:
    counted = Guesses(1000, clock)
    found = [outcome(counted, f"192.0.2.{number}", "one") for number in range(KEY_GUESSES + 2)]
    assert found == ["CREDENTIAL_INVALID"] * KEY_GUESSES + ["TOO_MANY_ATTEMPTS"] * 2
    assert outcome(counted, "192.0.2.1", "another") == "CREDENTIAL_INVALID"


def test_the_right_key_works_while_others_guess_and_is_not_counted(clock: Clock) -> None:
    counted = Guesses(1, clock)
    for _ in range(50):
        outcome(counted, "192.0.2.1", "one")
        assert outcome(counted, "192.0.2.1", "one", None) == "right"


def test_a_credential_that_was_right_once_is_no_guess(clock: Clock) -> None:
    counted = Guesses(1, clock)
    assert [outcome(counted, "192.0.2.1", "one", REVOKED) for _ in range(20)] == ["CREDENTIAL_REVOKED"] * 20


def test_after_a_minute_guesses_are_forgotten_and_until_then_the_error_says_how_long(clock: Clock) -> None:
    counted = Guesses(1, clock)
    outcome(counted, "192.0.2.1")
    clock.time += WINDOW_SECONDS - 20
    with pytest.raises(errors.ResourceExhausted) as raised, counted.counted("192.0.2.1"):
        raise WRONG
    assert raised.value.facts.retry_after == pytest.approx(20)
    clock.time += 20
    assert outcome(counted, "192.0.2.1") == "CREDENTIAL_INVALID"


def test_many_addresses_take_no_more_memory_than_some(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "MOST_COUNTED", 3)
    counted = Guesses(1, clock)
    for number in range(10):
        outcome(counted, f"192.0.2.{number}")
    # The oldest is forgotten, and the newest is not.
    assert outcome(counted, "192.0.2.9") == "TOO_MANY_ATTEMPTS"
    assert outcome(counted, "192.0.2.0") == "CREDENTIAL_INVALID"


async def test_identity_throttles_guesses_at_a_key_and_serves_its_holder(identity: Identity) -> None:
    made = await identity.account("guessed", "read:*")

    async def guess() -> str:
        request = pb.AuthenticateRequest(credential=api_key.make(made.key_id).text, source="192.0.2.1")
        return (await refused(identity.auth.Authenticate(request))).reason

    reasons = [await guess() for _ in range(KEY_GUESSES + 1)]
    assert reasons == ["CREDENTIAL_INVALID"] * KEY_GUESSES + ["TOO_MANY_ATTEMPTS"]
    right = pb.AuthenticateRequest(credential=made.api_key, source="192.0.2.1")
    assert (await identity.auth.Authenticate(right)).principal.credential_id == made.key_id


async def test_invented_keys_and_tokens_are_counted_by_their_address(identity: Identity) -> None:
    async def guess(number: int) -> str:
        credential = api_key.make().text if number % 2 else f"{secrets.token_hex(8)}.e30.AAAA"
        request = pb.AuthenticateRequest(credential=credential, source="192.0.2.1")
        return (await refused(identity.auth.Authenticate(request))).reason

    reasons = [await guess(number) for number in range(62)]
    assert set(reasons[:60]) == {"CREDENTIAL_INVALID", "TOKEN_INVALID"}
    assert set(reasons[60:]) == {"TOO_MANY_ATTEMPTS"}
