"""A process refuses a certificate that its neighbours would refuse, and reads a new one by itself."""

from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.mesh.call.errors import FailedPrecondition
from services.mesh.transport.tls.authority import CA_KEY, Authority
from services.mesh.transport.tls.identity import CA, Identity


def refused(folder: Path, name: str = "serve") -> str:
    """The reason for which an identity is refused."""
    with pytest.raises(FailedPrecondition) as failure:
        Identity(folder, name)
    return failure.value.reason


def test_keys_are_readable_by_their_owner_only(authority: Authority, folder: Path) -> None:
    issued = authority.issue("serve")
    assert [path.stat().st_mode & 0o777 for path in (issued, folder / CA_KEY)] == [0o600, 0o600]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_missing_certificate_is_refused(authority: Authority, folder: Path) -> None:
    assert refused(folder) == "CERTIFICATE_MISSING"


def test_a_key_others_can_read_is_refused(authority: Authority, folder: Path) -> None:
    authority.issue("serve").chmod(0o644)
    assert refused(folder) == "CERTIFICATE_EXPOSED"


def test_an_expired_certificate_is_refused(authority: Authority, folder: Path) -> None:
    authority.issue("serve", lifetime=timedelta(seconds=-1))
    assert refused(folder) == "CERTIFICATE_EXPIRED"


def test_a_certificate_of_another_authority_is_refused(authority: Authority, stranger: Authority, folder: Path) -> None:
    stranger.issue("serve", folder=folder)
    assert refused(folder) == "CERTIFICATE_UNTRUSTED"


def test_a_certificate_of_another_process_is_refused(authority: Authority, folder: Path) -> None:
    authority.issue("serve-memory").rename(folder / "serve.pem")
    assert refused(folder) == "CERTIFICATE_MISNAMED"


def test_an_invalid_certificate_is_refused(authority: Authority, folder: Path) -> None:
    authority.issue("serve").write_text("-----BEGIN CERTIFICATE-----\nnothing of the kind\n-----END CERTIFICATE-----\n")
    assert refused(folder) == "CERTIFICATE_MALFORMED"


def test_a_new_certificate_is_used(authority: Authority, folder: Path) -> None:
    path = authority.issue("serve")
    identity = Identity(folder, "serve")
    before = identity.material
    authority.renew(path)
    assert identity.material.certificate != before.certificate
    assert identity.material.version != before.version


def test_while_a_new_certificate_is_unusable_the_old_one_is_used_and_the_log_says_why(
    authority: Authority, folder: Path
) -> None:
    path = authority.issue("serve")
    identity = Identity(folder, "serve")
    before = identity.material
    authority.issue("serve", lifetime=timedelta(seconds=-1))
    with capture_logs() as lines:
        assert identity.material.certificate == before.certificate
        assert identity.material.certificate == before.certificate
    assert [line["reason"] for line in lines] == ["CERTIFICATE_EXPIRED"]
    authority.renew(path)
    assert identity.material.certificate != before.certificate


def test_without_the_authoritys_key_nothing_is_issued(authority: Authority, folder: Path) -> None:
    (folder / CA_KEY).unlink()
    with pytest.raises(FailedPrecondition) as failure:
        Authority.at(folder.parent)
    assert failure.value.reason == "CA_KEY_MISSING"
    assert (folder / CA).exists()
