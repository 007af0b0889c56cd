"""The first start: the tenant that operates the mesh, and its administrator with a password that works once."""

from pathlib import Path

import structlog
from soma.identity.v1.tenant_service_pb2 import Tenant
from soma.identity.v1.user_service_pb2 import User

from services.identity.passwords import Passwords
from services.identity.roles import ADMIN
from services.identity.store.tenants import TenantStore
from services.mesh.call.principal import OPERATOR
from services.mesh.process.keys import ensure_key, read_key_if_any

log = structlog.get_logger("identity")

PASSWORD_FILE = "admin.password"


def forget_password(password: str, data_dir: Path) -> None:
    """Delete the file with the administrator's first password, if this was it and it has been changed."""
    path = data_dir / PASSWORD_FILE
    if read_key_if_any(path) == password:
        path.unlink(missing_ok=True)


async def ensure_operator(tenants: TenantStore, passwords: Passwords, data_dir: Path) -> None:
    """Make the tenant and the administrator if there is no such tenant yet.

    The password is in `admin.password` of the data directory, where `soma up` reads it to show it. The administrator
    has to change it after the first login.

    Raises:
        Unavailable: Postgres cannot be reached.
        FailedPrecondition: the file can be read by others.
    """
    if await tenants.get(OPERATOR) is not None:
        return
    password = ensure_key(data_dir / PASSWORD_FILE)
    made = await tenants.create(
        Tenant(tenant_id=OPERATOR, title="Operator"),
        User(username=ADMIN, roles=[ADMIN]),
        await passwords.hashed(password),
    )
    if made is not None:
        log.info("the first administrator was made", username=ADMIN, password_file=str(data_dir / PASSWORD_FILE))
