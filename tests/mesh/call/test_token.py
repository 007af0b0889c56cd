"""Signed principals: whoever has the key can read them; forged, changed and old ones are refused."""

import time
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.mesh.call.token import LIFETIME, Signer

KEY = b"k" * 32
ALEX = Principal("acme", "alex", ("admin",), frozenset({"read:*", "execute:chat"}))


@given(
    st.builds(
        Principal,
        st.text(min_size=1),
        st.text(min_size=1),
        st.tuples(st.text()),
        st.frozensets(st.text(), max_size=5),
    )
)
def test_a_principal_reads_back_as_it_was(principal: Principal) -> None:
    assert Signer(KEY, "b").verify(Signer(KEY, "a").sign(principal)) == (principal, False)


def test_a_process_can_sign_a_token_without_a_principal() -> None:
    assert Signer(KEY, "b").verify(Signer(KEY, "a").sign(None)) == (None, False)


def test_a_token_says_whether_the_right_was_checked() -> None:
    signer = Signer(KEY, "a")
    assert signer.verify(signer.sign(ALEX, inside=True)) == (ALEX, True)
    assert signer.verify(signer.sign(ALEX)) == (ALEX, False)


def test_another_key_is_refused() -> None:
    with pytest.raises(errors.Unauthenticated):
        Signer(b"x" * 32, "b").verify(Signer(KEY, "a").sign(ALEX))


@pytest.mark.parametrize("place", [0, 10, 40, 60, -3])
def test_a_changed_token_is_refused(place: int) -> None:
    token = Signer(KEY, "a").sign(ALEX)
    changed = list(token)
    changed[place] = "A" if changed[place] != "A" else "B"
    with pytest.raises(errors.Unauthenticated):
        Signer(KEY, "b").verify("".join(changed))


@pytest.mark.parametrize("token", ["", "?", "AAAA", "ü", "A" * 5000])
def test_text_that_is_not_a_token_is_refused(token: str) -> None:
    with pytest.raises(errors.Unauthenticated):
        Signer(KEY, "b").verify(token)


def test_a_token_expires_after_a_minute_even_if_it_was_accepted_before() -> None:
    reader = Signer(KEY, "b")
    token = Signer(KEY, "a").sign(ALEX)
    assert reader.verify(token) == (ALEX, False)
    later = patch("services.mesh.call.token.time.time", return_value=time.time() + LIFETIME + 1)
    with later, pytest.raises(errors.Unauthenticated) as refused:
        reader.verify(token)
    assert refused.value.reason == "TOKEN_EXPIRED"


def test_a_reused_token_always_has_half_of_its_minute_left() -> None:
    signer = Signer(KEY, "a")
    first = signer.sign(ALEX)
    assert signer.sign(ALEX) == first
    with patch("services.mesh.call.token.time.time", return_value=time.time() + LIFETIME / 2 + 1):
        assert signer.sign(ALEX) != first


def test_a_weak_key_stops_the_start() -> None:
    with pytest.raises(errors.FailedPrecondition):
        Signer(b"short", "a")
