"""Where the mesh is and which key to show come from the caller, else from the environment."""

from pathlib import Path

import pytest
from somamesh.settings import Endpoint, endpoint


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
    ],
)
def test_a_url_names_a_target_and_whether_it_is_reached_by_tls(url: str | None, target: str, secure: bool) -> None:
    assert endpoint(url, None) == Endpoint(target, secure, None)


def test_what_the_caller_gives_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_API_URL", "http://there:1")
    monkeypatch.setenv("SOMA_API_KEY", "theirs")
    assert endpoint(None, None) == Endpoint("there:1", False, "theirs")
    assert endpoint("http://here:2", "mine") == Endpoint("here:2", False, "mine")


@pytest.mark.parametrize("url", ["mesh:8080", "ftp://mesh", "http://", "http://mesh/v1", "http://mesh:port"])
def test_what_is_no_url_of_a_mesh_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        endpoint(url, None)


def test_authorities_are_trusted_only_where_there_is_tls() -> None:
    assert endpoint("https://mesh", None, "ca.pem") == Endpoint("mesh:443", True, None, Path("ca.pem"))
    with pytest.raises(ValueError, match="not reached by TLS"):
        endpoint("http://mesh", None, "ca.pem")
