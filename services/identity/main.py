"""Declares and builds the identity service."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic

from soma.identity.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from soma.identity.v1.role_service_pb2_grpc import add_RoleServiceServicer_to_server
from soma.identity.v1.service_account_service_pb2_grpc import add_ServiceAccountServiceServicer_to_server
from soma.identity.v1.tenant_service_pb2_grpc import add_TenantServiceServicer_to_server
from soma.identity.v1.user_service_pb2_grpc import add_UserServiceServicer_to_server

from services.identity.access_token import AccessTokens
from services.identity.accounts import Accounts
from services.identity.authentication import Authentication
from services.identity.delegated_token import DelegatedTokens
from services.identity.delegations import Delegations
from services.identity.first_start import ensure_operator
from services.identity.guesses import Guesses
from services.identity.key_ring import KeyRing
from services.identity.key_use import KeyUse
from services.identity.outside.issuer_keys import IssuerKeys
from services.identity.outside.people import OutsidePeople
from services.identity.passwords import Passwords
from services.identity.people import People
from services.identity.revocations import Revocations
from services.identity.service import AuthService, RoleService, ServiceAccountService, TenantService, UserService
from services.identity.sessions import Sessions
from services.identity.settings import IdentitySettings
from services.identity.signing_keys import KeyWrap
from services.identity.store.accounts import AccountStore
from services.identity.store.attempts import Attempts
from services.identity.store.credentials import CredentialStore
from services.identity.store.keys import SigningKeyStore
from services.identity.store.outside import OutsideStore
from services.identity.store.people import PeopleStore
from services.identity.store.revocations import RevocationStore
from services.identity.store.sessions import SessionStore
from services.identity.store.tenants import TenantStore
from services.identity.tenants import Tenants
from services.mesh.declaration import Declaration
from services.mesh.limits.settings import LimitSettings
from services.mesh.mesh import Mesh
from services.mesh.process.jobs import Job
from services.mesh.process.keys import ensure_key, read_key_if_any
from services.mesh.service import Service
from services.mesh.stores.row_security import Access
from services.mesh.watching.rows import RowSequences
from services.mesh.watching.streams import StreamReader

_SWEEP_SECONDS = 3600.0


async def build(mesh: Mesh, settings: IdentitySettings, stack: AsyncExitStack) -> Service:
    """Make the five services of identity, the first administrator, and the keys that sign tokens.

    Raises:
        Unavailable: Postgres cannot be reached.
        FailedPrecondition: the internal key is not the one that the database was made with.
    """
    limits = LimitSettings()
    lifetime, session_lasts = timedelta(seconds=settings.access_token_seconds), timedelta(days=settings.session_days)
    reader = StreamReader(mesh.redis)
    sequences = RowSequences(mesh.redis, reader, "identity")
    stack.push_async_callback(sequences.close)
    revocation_store = RevocationStore(mesh.postgres.system)
    revocations = Revocations(revocation_store, sequences)

    wrap = KeyWrap(ensure_key(mesh.data_dir / "internal.key").encode())
    delegation_lasts = timedelta(days=settings.delegation_days)
    ring = KeyRing(
        SigningKeyStore(mesh.postgres.system),
        wrap,
        timedelta(days=settings.signing_key_days),
        max(lifetime, delegation_lasts),
    )
    await ring.start()
    tokens, delegated = AccessTokens(ring.keys, lifetime), DelegatedTokens(ring.keys)

    passwords = Passwords()
    tenant_store, people_store = TenantStore(mesh.postgres), PeopleStore(mesh.postgres.tenants)
    account_store, session_store = AccountStore(mesh.postgres), SessionStore(mesh.postgres)
    await ensure_operator(tenant_store, passwords, mesh.data_dir)

    use = KeyUse(account_store)
    stack.push_async_callback(use.write)
    credentials = CredentialStore(mesh.postgres)
    issuer_keys = _issuer_keys(settings)
    for each in issuer_keys.values():
        stack.push_async_callback(each.close)
    outside = OutsidePeople(
        settings.issuers, issuer_keys, OutsideStore(mesh.postgres.tenants), credentials, revocations.changed
    )
    authentication = Authentication(
        credentials,
        tokens,
        delegated,
        outside,
        Guesses(settings.failed_credentials),
        limits.default_tier,
        use.used,
        development=lambda: read_key_if_any(mesh.data_dir / "dev.key") is not None,
    )
    delegations = Delegations(delegated, delegation_lasts)
    attempts = Attempts(mesh.redis, settings.failed_logins)
    sessions = Sessions(session_store, people_store, passwords, attempts, tokens, session_lasts, revocations.changed)
    accounts = Accounts(account_store, limits.tiers, settings.key_days, revocations.changed)
    people = People(people_store, tenant_store, passwords, attempts, settings.issuers, revocations.changed)
    tenants = Tenants(tenant_store, passwords, limits.tiers, revocations.changed)

    return Service(
        servicers=(
            (
                add_AuthServiceServicer_to_server,
                AuthService(authentication, sessions, revocations, delegations, ring.keys),
            ),
            (add_ServiceAccountServiceServicer_to_server, ServiceAccountService(accounts)),
            (add_UserServiceServicer_to_server, UserService(people, mesh.data_dir)),
            (add_TenantServiceServicer_to_server, TenantService(tenants)),
            (add_RoleServiceServicer_to_server, RoleService(tenants)),
        ),
        jobs=(
            reader.job,
            sequences.job,
            ring.job,
            use.job,
            *(each.job for each in issuer_keys.values()),
            Job(
                "sweep sessions",
                partial(session_store.sweep, settings.delegation_days + 1),
                every=_SWEEP_SECONDS,
                alone=True,
            ),
            Job("sweep revocations", revocation_store.sweep, every=_SWEEP_SECONDS, alone=True),
        ),
        checks={"postgres": mesh.check_postgres},
        # Without Redis, other processes hear of revocations by reading the table every two seconds.
        wants={"redis": mesh.check_redis},
    )


def _issuer_keys(settings: IdentitySettings) -> dict[str, IssuerKeys]:
    if not settings.issuers:
        return {}
    # This is imported only here, because its dependencies take 10 MB.
    from services.identity.outside.documents import read

    return {name: IssuerKeys(name, issuer, read, monotonic) for name, issuer in settings.issuers.items()}


SERVICE = Declaration(
    name="identity",
    build=build,
    settings=IdentitySettings,
    needs=("postgres", "redis"),
    migrations=Path(__file__).parent / "migrations",
    access=Access(
        # Keys and refresh tokens are found before anybody knows their tenant; revocations are told to all processes.
        system={
            "tenant": "SELECT",
            "person": "SELECT",
            "service_account": "SELECT",
            "api_key": "SELECT UPDATE",
            "session": "SELECT UPDATE DELETE",
            "refresh_token": "SELECT INSERT UPDATE",
            "revocation": "SELECT INSERT DELETE",
            "revocation_counter": "SELECT UPDATE",
            "signing_key": "SELECT INSERT UPDATE DELETE",
        },
        shared={"revocation_counter": "SELECT UPDATE"},
    ),
)
