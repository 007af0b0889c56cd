"""The certificates of a stack's parts: made by its own CA when the stack starts, and renewed while it runs."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509

from services.mesh.errors import MeshError
from services.mesh.settings import Settings
from services.mesh.tls.authority import LIFETIME, Authority
from services.mesh.tls.identity import folder_of
from services.mesh.tls.names import CONTROL, GATEWAY, host_of

log = structlog.get_logger("tls")

FRONT = "front"
LOOK_SECONDS = 3600.0
# With this much left a certificate is renewed: a stack that is down for a while comes back with valid ones.
RENEW_BELOW = LIFETIME / 2


def wanted(settings: Settings, processes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The certificates a stack needs: host names and addresses by the name of the part."""
    found: dict[str, list[str]] = {}
    if settings.mutual_tls:
        found[CONTROL] = [host_of(CONTROL)]
        found[GATEWAY] = [host_of(GATEWAY)]
        found |= {name: [host_of(service) for service in services] for name, services in processes.items()}
    if settings.tls and settings.tls_cert is None:
        found[FRONT] = sorted({"localhost", "127.0.0.1", "::1", settings.advertise or settings.host})
    return found


def expires(path: Path) -> datetime | None:
    """When a certificate ends; None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def ensure(data_dir: Path, needed: Mapping[str, Sequence[str]]) -> list[str]:
    """Issue what is missing, ends soon, or is for other names; the names of what was issued.

    Raises:
        FailedPrecondition: something has to be issued and the CA's key is not here.
    """
    folder = folder_of(data_dir)
    due = [name for name, names in needed.items() if _due(folder / f"{name}.pem", names)]
    if due:
        authority = Authority.at(data_dir)
        for name in due:
            authority.issue(name, needed[name])
            log.info("certificate issued", name=name)
    return due


async def keep(data_dir: Path, needed: Mapping[str, Sequence[str]]) -> None:
    """Renew for ever; running processes take new certificates up by themselves."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            ensure(data_dir, needed)
        except (MeshError, OSError) as error:
            log.error("certificates not renewed", error=str(error))


def _due(path: Path, names: Sequence[str]) -> bool:
    end = expires(path)
    if end is None or end - datetime.now(UTC) < RENEW_BELOW:
        return True
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has = {*alternatives.get_values_for_type(x509.DNSName)}
    has |= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    return not has.issuperset(names)
