"""Replaces a certificate authority in three steps, at each of which all processes accept each other.

First the next authority is trusted beside the present one; then it issues the certificates; then the old one is no
longer trusted. Before each step, every process has to have read the files of the step before.
"""

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.transport.tls.authority import CA_KEY, Authority, make, trusted, write
from services.mesh.transport.tls.identity import CA, folder_of, issued_by

NEXT_KEY = "ca.next.key"


def trust_next(data_dir: Path) -> None:
    """Make the next authority, if there is none, and trust it beside the present one."""
    Authority.at(data_dir)
    folder = folder_of(data_dir)
    if not (folder / NEXT_KEY).exists():
        certificate, key = make()
        # The trusted certificates are written first: a key without its certificate would be useless.
        _trust(folder, [*trusted(folder), certificate])
        write(folder / NEXT_KEY, key)


def succeed(data_dir: Path, spared: Iterable[str] = ()) -> None:
    """Let the next authority issue all certificates again; the old authority is still trusted.

    Args:
        spared: names of certificates that are not issued again.

    Raises:
        FailedPrecondition: there is no next authority.
    """
    folder = folder_of(data_dir)
    if not (folder / NEXT_KEY).exists():
        raise errors.FailedPrecondition(f"{folder} has no next CA", reason=reasons.CA_NEXT_MISSING)
    (folder / NEXT_KEY).replace(folder / CA_KEY)
    authority = Authority.at(data_dir)
    for path in issued(folder):
        if path.stem not in spared:
            authority.renew(path)


def retire(data_dir: Path, spared: Iterable[str] = ()) -> int:
    """Trust only the present authority; returns how many others were trusted before.

    Args:
        spared: names of certificates that `succeed` did not issue again: that is done now.

    Raises:
        FailedPrecondition: the next authority issues nothing yet, or another certificate is still from an old one.
    """
    folder, authority = folder_of(data_dir), Authority.at(data_dir)
    if (folder / NEXT_KEY).exists():
        raise errors.FailedPrecondition(
            "the next CA is trusted and issues nothing yet; soma certs rotate --ca lets it",
            reason=reasons.CA_NEXT_WAITING,
        )
    for path in issued(folder):
        if issued_by(x509.load_pem_x509_certificate(path.read_bytes()), authority.certificate):
            continue
        if path.stem in spared:
            authority.renew(path)
        else:
            raise errors.FailedPrecondition(
                f"{path} was issued by the CA that is to go; soma certs rotate issues it anew", reason=reasons.CA_IN_USE
            )
    gone = len(trusted(folder)) - 1
    if gone:
        _trust(folder, [authority.certificate])
    return gone


def issued(folder: Path) -> list[Path]:
    """The certificates of a folder, without those of its authorities."""
    return [path for path in sorted(folder.glob("*.pem")) if path.name != CA]


def _trust(folder: Path, authorities: Iterable[x509.Certificate]) -> None:
    write(folder / CA, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in authorities))
