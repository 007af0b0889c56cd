"""A new authority replaces the old one, and at each step all neighbours accept each other."""

import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from services.mesh.call.errors import FailedPrecondition
from services.mesh.call.process_name import host_of
from services.mesh.transport.router import open_channel
from services.mesh.transport.tls.authority import Authority, trusted
from services.mesh.transport.tls.identity import Identity, issued_by
from services.mesh.transport.tls.succession import NEXT_KEY, retire, succeed, trust_next
from tests.mesh.transport.tls.neighbours import MESSAGE_BYTES, client_context, echo, get

Step = Callable[[Path], object]
STEPS: list[tuple[Step, int]] = [(trust_next, 2), (succeed, 2), (retire, 1)]


def newest_issued(folder: Path, name: str) -> bool:
    """Whether the newest authority issued a certificate."""
    return issued_by(x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()), trusted(folder)[-1])


async def test_processes_that_run_serve_each_other_after_every_step(
    address: str, authority: Authority, folder: Path
) -> None:
    authority.issue("serve-2", [host_of("other")])
    caller = Identity(folder, "serve-2")
    before = trusted(folder)
    for step, count in STEPS:
        # A process that read the files before the step calls one that read them after it, and the other way round.
        waiting = open_channel(address, "echo", caller, MESSAGE_BYTES)
        step(folder.parent)
        assert await echo(waiting) == "hello"
        assert await echo(open_channel(address, "echo", caller, MESSAGE_BYTES)) == "hello"
        assert await echo(open_channel(address, "echo", Identity(folder, "serve-2"), MESSAGE_BYTES)) == "hello"
        assert len(trusted(folder)) == count
    assert trusted(folder) != before
    assert newest_issued(folder, "serve")
    assert newest_issued(folder, "serve-2")


async def test_an_http_application_follows_every_step_too(port: int, authority: Authority, folder: Path) -> None:
    path = authority.issue("envoy")
    for step, _ in STEPS:
        waiting = client_context(folder, path)
        step(folder.parent)
        assert await get(port, waiting) == "hello"
        assert await get(port, client_context(folder, path)) == "hello"


async def test_certificates_of_the_old_authority_are_refused_once_it_is_retired(
    port: int, authority: Authority, folder: Path, tmp_path: Path
) -> None:
    kept = authority.issue("envoy", folder=tmp_path)
    old = client_context(folder, kept)
    trust_next(folder.parent)
    succeed(folder.parent)
    assert await get(port, client_context(folder, kept)) == "hello"
    retire(folder.parent)
    old.load_verify_locations(folder / "ca.pem")
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await get(port, old)


def test_a_step_may_be_repeated_and_is_done_once(authority: Authority, folder: Path) -> None:
    trust_next(folder.parent)
    both = trusted(folder)
    trust_next(folder.parent)
    assert trusted(folder) == both
    succeed(folder.parent)
    with pytest.raises(FailedPrecondition, match="no next CA"):
        succeed(folder.parent)
    assert (retire(folder.parent), retire(folder.parent)) == (1, 0)
    assert trusted(folder) == both[1:]


def test_the_current_authority_is_not_retired_before_the_next_one_has_issued_certificates(
    authority: Authority, folder: Path
) -> None:
    trust_next(folder.parent)
    with pytest.raises(FailedPrecondition) as refused:
        retire(folder.parent)
    assert refused.value.reason == "CA_NEXT_WAITING"
    assert (folder / NEXT_KEY).stat().st_mode & 0o777 == 0o600


def test_an_authority_is_not_retired_while_its_certificates_are_used(authority: Authority, folder: Path) -> None:
    authority.issue("serve")
    authority.issue("front", ["localhost"])
    trust_next(folder.parent)
    succeed(folder.parent, spared=["front"])
    assert newest_issued(folder, "serve")
    assert not newest_issued(folder, "front")
    with pytest.raises(FailedPrecondition) as refused:
        retire(folder.parent)
    assert refused.value.reason == "CA_IN_USE"
    assert retire(folder.parent, spared=["front"]) == 1
    assert newest_issued(folder, "front")


def test_a_key_that_does_not_belong_to_the_authority_issues_nothing(
    authority: Authority, stranger: Authority, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "strange" / "tls" / "ca.key").rename(folder / "ca.key")
    with pytest.raises(FailedPrecondition) as refused:
        Authority.at(folder.parent)
    assert refused.value.reason == "CA_KEY_FOREIGN"
