"""Users: who may log in, with which roles; nobody gets power over somebody who may do more."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from soma.errors.v1 import reasons
from soma.identity.v1 import user_service_pb2 as pb

from services.identity import passwords
from services.identity.passwords import Passwords
from services.identity.roles import ADMIN, MEMBER, require_held, require_known, scopes_of
from services.identity.sessions import session_of
from services.identity.store.attempts import Attempt, Attempts
from services.identity.store.people import LastAdmin, PeopleStore
from services.identity.store.tenants import TenantStore
from services.mesh.call import errors, page_token
from services.mesh.call.field_mask import updated
from services.mesh.call.principal import Principal

PAGE_SIZE = 50
_CHANGEABLE = frozenset({"email", "display_name", "roles", "state"})


class People:
    """Makes and changes the users of a tenant; `changed` is called after something was revoked.

    `issuers` are the names of the outside issuers in the settings.
    """

    def __init__(
        self,
        people: PeopleStore,
        tenants: TenantStore,
        hashes: Passwords,
        attempts: Attempts,
        issuers: Collection[str],
        changed: Callable[[], None],
    ) -> None:
        self._people = people
        self._tenants = tenants
        self._passwords = hashes
        self._attempts = attempts
        self._issuers = issuers
        self._changed = changed

    async def create(self, caller: Principal, request: pb.CreateUserRequest) -> pb.CreateUserResponse:
        """A new user, whose password has to be changed, or who comes with tokens of an outside issuer.

        Raises:
            InvalidArgument: there is no such role or issuer, or the password is too weak or not needed.
            PermissionDenied: the caller lacks a scope of the roles.
            AlreadyExists: the tenant has a user of this name.
        """
        outside = request.HasField("outside")
        roles = list(request.roles) or ([] if outside else [MEMBER])
        await self._require_grantable(caller, roles)
        asked = pb.User(username=request.username, email=request.email, display_name=request.display_name, roles=roles)
        made, hashed = "", None
        if outside:
            self._require_outside(request)
            asked.outside.CopyFrom(request.outside)
        else:
            if request.password:
                passwords.require_strong(request.password, request.username)
            made = "" if request.password else passwords.made()
            hashed = await self._passwords.hashed(request.password or made)
        user = await self._people.create(caller.tenant_id, asked, hashed)
        if user is None:
            raise errors.AlreadyExists(f"there is a user {request.username!r}, or one with this subject, already")
        return pb.CreateUserResponse(user=user, password=made)

    async def get(self, caller: Principal, user_id: str) -> pb.User:
        """A user.

        Raises:
            NotFound: the tenant has no such user.
        """
        user = await self._people.get(caller.tenant_id, UUID(user_id))
        if user is None:
            raise _unknown(user_id)
        return user

    async def list(self, caller: Principal, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        """A page of users, in the order of their names.

        Raises:
            InvalidArgument: the page token does not belong to this list.
        """
        size, place = request.page_size or PAGE_SIZE, page_token.read(request, str)
        found = await self._people.page(caller.tenant_id, place[0] if place else "", size + 1)
        response = pb.ListUsersResponse(users=found[:size])
        if len(found) > size:
            response.next_page_token = page_token.write(request, found[size - 1].username)
        return response

    async def update(self, caller: Principal, request: pb.UpdateUserRequest) -> pb.User:
        """Change a user.

        Raises:
            NotFound: the tenant has no such user.
            Aborted: the user has another etag.
            InvalidArgument: a field cannot be changed, or there is no such role.
            PermissionDenied: the caller lacks a scope that the user has or gets.
            FailedPrecondition: the tenant would have no administrator.
        """
        stored = await self.get(caller, request.user.user_id)
        if request.user.etag and request.user.etag != stored.etag:
            raise _changed_meanwhile(stored.etag)
        wanted = updated(stored, request.user, request.update_mask, _CHANGEABLE)
        if wanted.state == pb.User.STATE_UNSPECIFIED:
            wanted.state = stored.state
        await self._require_power(caller, stored)
        if set(wanted.roles) != set(stored.roles):
            await self._require_grantable(caller, wanted.roles)
        with _some_admin_left():
            changed = await self._people.update(caller.tenant_id, wanted, int(stored.etag), ADMIN)
        if changed is None:
            raise _changed_meanwhile((await self.get(caller, request.user.user_id)).etag)
        self._changed()
        return changed

    async def delete(self, caller: Principal, user_id: str) -> None:
        """Delete a user and end the user's sessions.

        Raises:
            NotFound: the tenant has no such user.
            PermissionDenied: the user has a scope that the caller lacks.
            FailedPrecondition: the tenant would have no administrator.
        """
        await self._require_power(caller, await self.get(caller, user_id))
        with _some_admin_left():
            if not await self._people.delete(caller.tenant_id, UUID(user_id), ADMIN):
                raise _unknown(user_id)
        self._changed()

    async def reset_password(self, caller: Principal, user_id: str) -> str:
        """A password that the user has to change; all sessions of the user end.

        Raises:
            NotFound: the tenant has no such user.
            PermissionDenied: the user has a scope that the caller lacks.
            FailedPrecondition: the user comes with tokens of an outside issuer.
        """
        user = await self.get(caller, user_id)
        await self._require_power(caller, user)
        if user.HasField("outside"):
            raise errors.FailedPrecondition(
                f"the user has no password, and comes with tokens of the issuer {user.outside.issuer!r}"
            )
        made = passwords.made()
        hashed = await self._passwords.hashed(made)
        if not await self._people.set_password(caller.tenant_id, UUID(user_id), hashed, must_change=True):
            raise _unknown(user_id)
        self._changed()
        return made

    async def change_password(self, caller: Principal, request: pb.ChangePasswordRequest) -> None:
        """Change the caller's password, and end the caller's other sessions.

        Raises:
            PermissionDenied: the caller is not a user.
            Unauthenticated: the current password is wrong.
            ResourceExhausted: it was wrong too often.
            InvalidArgument: the new one is too weak, or is the current one.
        """
        session_id = session_of(caller)
        user = await self.get(caller, caller.subject)
        user_id = UUID(user.user_id)
        # Whoever has found a token must not find the password with it.
        attempt = Attempt(caller.tenant_id, user.username, caller.credential_id)
        await self._attempts.begin(attempt)
        if not await self._passwords.matches(
            request.current_password, await self._people.password(caller.tenant_id, user_id)
        ):
            await self._attempts.failed(attempt)
            raise errors.Unauthenticated("the current password is wrong", reason=reasons.LOGIN_REFUSED)
        passwords.require_strong(request.new_password, user.username)
        if request.new_password == request.current_password:
            raise errors.InvalidArgument("the new password is the current one", reason=reasons.PASSWORD_TOO_WEAK)
        hashed = await self._passwords.hashed(request.new_password)
        await self._people.set_password(caller.tenant_id, user_id, hashed, must_change=False, but=session_id)
        self._changed()

    def _require_outside(self, request: pb.CreateUserRequest) -> None:
        if request.outside.issuer not in self._issuers:
            raise errors.InvalidArgument(
                f"there is no issuer {request.outside.issuer!r}, only: {', '.join(sorted(self._issuers)) or 'none'}",
                reason=reasons.ISSUER_UNKNOWN,
            )
        if request.password:
            why = "a user who comes with tokens of an outside issuer has no password"
            raise errors.InvalidArgument(why, violations=[errors.FieldViolation("password", why)])

    async def _require_grantable(self, caller: Principal, names: Collection[str]) -> None:
        own = await self._own_roles(caller)
        require_known(names, own)
        require_held(caller, sorted(scopes_of(names, own)), "the roles have")

    async def _require_power(self, caller: Principal, user: pb.User) -> None:
        scopes = scopes_of(user.roles, await self._own_roles(caller))
        require_held(caller, sorted(scopes), "the user has")

    async def _own_roles(self, caller: Principal) -> Mapping[str, Sequence[str]]:
        roles = await self._tenants.roles(caller.tenant_id)
        return {name: role.scopes for name, role in roles.items()}


@contextmanager
def _some_admin_left() -> Iterator[None]:
    try:
        yield
    except LastAdmin as error:
        raise errors.FailedPrecondition(
            "the tenant would be left without an administrator", reason=reasons.LAST_ADMIN
        ) from error


def _unknown(user_id: str) -> errors.NotFound:
    return errors.NotFound("there is no such user", metadata={"user_id": user_id})


def _changed_meanwhile(etag: str) -> errors.Aborted:
    return errors.Aborted("the user changed meanwhile", reason=reasons.ETAG_MISMATCH, metadata={"etag": etag})
