"""The certificates of a stack's parts: made by its own CA when the stack starts, and renewed while it runs."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from cli.data_dir import DataDir
from cli.state import running
from cli.table import aligned
from services.mesh.call.errors import Unavailable
from services.mesh.process.jobs import Job
from services.mesh.settings import Settings
from services.mesh.transport.tls.authority import LIFETIME, Authority, trusted
from services.mesh.transport.tls.identity import CA, folder_of
from services.mesh.transport.tls.names import CONTROL, GATEWAY, host_of
from services.mesh.transport.tls.succession import issued

log = structlog.get_logger("tls")

FRONT = "front"
LOOK_SECONDS, RETRY_SECONDS = 3600.0, 60.0
# How long the gateway may take to be told of a new CA, and to act on it.
TAKE_UP_SECONDS, SETTLE_SECONDS, POLL_SECONDS = 30.0, 1.0, 0.05
# With this much left a certificate is renewed: a stack that is down for a while comes back with valid ones.
RENEW_BELOW = LIFETIME / 2


def wanted(settings: Settings, processes: Mapping[str, Sequence[str]], address: str) -> dict[str, list[str]]:
    """The certificates a stack needs, whose public port is at `address`: host names and addresses, by part."""
    found: dict[str, list[str]] = {}
    if settings.mutual_tls:
        found[CONTROL] = [host_of(CONTROL)]
        found[GATEWAY] = [host_of(GATEWAY)]
        found |= {name: [host_of(service) for service in services] for name, services in processes.items()}
    if settings.tls and settings.tls_cert is None:
        found[FRONT] = sorted({"localhost", "127.0.0.1", "::1", address, settings.advertise or settings.host})
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


def renewal(data_dir: Path, needed: Mapping[str, Sequence[str]]) -> Job:
    """Renews what `ensure` issued; running processes take new certificates up by themselves."""

    async def renew() -> None:
        ensure(data_dir, needed)

    return Job("renewal", renew, every=LOOK_SECONDS, first=LOOK_SECONDS, longest_pause=RETRY_SECONDS)


def taken_up(directory: DataDir) -> None:
    """Wait until every part of a stack that runs trusts whom `ca.pem` names.

    Our own processes look at each handshake; the gateway is told by the control process.

    Raises:
        Unavailable: the control process does not tell it.
    """
    told = directory["envoy"] / "secrets" / "mesh-authorities.json"
    wanted = (folder_of(directory.root) / CA).read_text()
    end = time.monotonic() + TAKE_UP_SECONDS
    while running(directory) is not None and told.exists():
        secret = json.loads(told.read_text())["resources"][0]
        if secret["validation_context"]["trusted_ca"]["inline_string"] == wanted:
            # It watches the file.
            time.sleep(SETTLE_SECONDS)
            return
        if time.monotonic() > end:
            raise Unavailable("the gateway has not taken up the new CA; its log says why", reason="CA_NOT_TAKEN_UP")
        time.sleep(POLL_SECONDS)


def listing(data_dir: Path) -> str:
    """What there is, for people."""
    folder = folder_of(data_dir)
    rows = [("certificate", "until", "issued by")]
    for authority in trusted(folder):
        rows.append(("CA", f"{authority.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", _name(authority.subject)))
    for path in issued(folder):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError:
            rows.append((path.stem, "cannot be read", ""))
        else:
            until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            rows.append((path.stem, until, _name(certificate.issuer)))
    return "\n".join(aligned(rows))


def _name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _due(path: Path, names: Sequence[str]) -> bool:
    end = expires(path)
    if end is None or end - datetime.now(UTC) < RENEW_BELOW:
        return True
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has = {*alternatives.get_values_for_type(x509.DNSName)}
    has |= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    return not has.issuperset(names)
