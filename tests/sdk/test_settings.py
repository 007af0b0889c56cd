"""The URL of the mesh and the key come from the caller, else from the environment."""

from pathlib import Path

import pytest
from somamesh import AsyncClient, Client
from somamesh.settings import Endpoint, endpoint

MORE = (
    "http://mesh:99999",
    "http://mesh:0",
    "http://me sh",
    "http://mesh?x=1",
    "http://mesh#x",
    "http://user:hunter2@mesh",
    "http://user:hunter2@mesh:99999",
    "http://[::1",
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOMA_API_URL", raising=False)
    monkeypatch.delenv("SOMA_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("url", "target", "secure"),
    [
        (None, "127.0.0.1:8080", False),
        ("http://mesh:81/", "mesh:81", False),
        ("http://mesh", "mesh:80", False),
        ("https://mesh", "mesh:443", True),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("HTTP://mesh:81\n", "mesh:81", False),
        ('"https://mesh"', "mesh:443", True),
        ("http://bücher.example", "xn--bcher-kva.example:80", False),
    ],
)
def test_a_url_names_a_target_and_whether_it_is_reached_by_tls(url: str | None, target: str, secure: bool) -> None:
    assert endpoint(url, None) == Endpoint(target, secure, None)


def test_arguments_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_API_URL", "http://there:1")
    monkeypatch.setenv("SOMA_API_KEY", "theirs")
    assert endpoint(None, None) == Endpoint("there:1", False, "theirs")
    assert endpoint("http://here:2", "mine") == Endpoint("here:2", False, "mine")


@pytest.mark.parametrize("url", ["mesh:8080", "ftp://mesh", "http://", "http://mesh/v1", "http://mesh:port", *MORE])
def test_an_invalid_url_is_refused_with_the_place_where_it_was_given(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ValueError, match=r"^the argument base_url: the URL") as refused:
        endpoint(url, None)
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("SOMA_API_URL", url)
    with pytest.raises(ValueError, match=r"^SOMA_API_URL in the environment: the URL"):
        endpoint(None, None)


@pytest.mark.parametrize("key", ["key\n", "key\r\n", " key", "\ufeffkey", '"key"'])
def test_a_key_is_sent_without_what_copying_added(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    assert endpoint(None, key).api_key == "key"
    monkeypatch.setenv("SOMA_API_KEY", key)
    assert endpoint(None, None).api_key == endpoint(None, " \n").api_key == "key"


def test_an_empty_key_or_url_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_API_KEY", "\n")
    monkeypatch.setenv("SOMA_API_URL", "")
    assert endpoint(None, None) == Endpoint("127.0.0.1:8080", False, None)


@pytest.mark.parametrize(
    ("key", "code"), [("hunter2\nhunter3", "U\\+000A"), ("hunter2é", "U\\+00E9"), ("hun\x07ter2", "U\\+0007")]
)
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, key: str, code: str
) -> None:
    for make in (Client, AsyncClient):
        with pytest.raises(ValueError, match=f"^the argument api_key: character . of the key is {code}") as refused:
            make(api_key=key)
        assert "hunter" not in str(refused.value)
    monkeypatch.setenv("SOMA_API_KEY", key)
    with pytest.raises(ValueError, match=r"^SOMA_API_KEY in the environment: "):
        Client()


def test_authorities_are_trusted_only_where_there_is_tls() -> None:
    assert endpoint("https://mesh", None, "ca.pem") == Endpoint("mesh:443", True, None, Path("ca.pem"))
    with pytest.raises(ValueError, match="not reached by TLS"):
        endpoint("http://mesh", None, "ca.pem")
