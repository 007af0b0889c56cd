"""Builds the calls of UserService; generated from soma/identity/v1/user_service.proto."""

from collections.abc import Sequence

from google.protobuf import field_mask_pb2
from soma.identity.v1 import user_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, no_value, unary, unchanged


def create_user(
    username: str,
    *,
    password: str = "",
    email: str = "",
    display_name: str = "",
    roles: Sequence[str] = (),
    outside: pb.OutsideIdentity | None = None,
    timeout: float | None = None,
) -> Call[pb.CreateUserResponse]:
    """Makes a user.

    Args:
        username: Name with which the person logs in; once in a tenant, whatever its case.
        password: A first password, which the person has to change; one is made when empty.
        email: Address for mail; may be empty.
        display_name: Name for people.
        roles: Names of its roles; `member` when empty. The caller must have all of their scopes.
        outside: Lets the person in with tokens of an outside issuer, and not with a password. It gets these roles
            beside those that its tokens name; none when empty.
    """
    request = pb.CreateUserRequest(
        username=username, password=password, email=email, display_name=display_name, roles=roles, outside=outside
    )
    return unary(lambda mesh: mesh.user_service.CreateUser, request, unchanged, repeatable=False, timeout=timeout)


def get_user(user_id: str, *, timeout: float | None = None) -> Call[pb.GetUserResponse]:
    """Returns a user.

    Args:
        user_id: Its id.
    """
    request = pb.GetUserRequest(user_id=user_id)
    return unary(lambda mesh: mesh.user_service.GetUser, request, unchanged, repeatable=True, timeout=timeout)


def list_users(*, page_size: int = 0, timeout: float | None = None) -> Listing[pb.User]:
    """Lists the users, in the order of their names. Pages are fetched while iterating.

    Args:
        page_size: Most users in the answer; 50 when unset.
    """

    def read(response: pb.ListUsersResponse) -> Page[pb.User]:
        return Page([unchanged(each) for each in response.users], response.next_page_token)

    def page(token: str) -> Call[Page[pb.User]]:
        request = pb.ListUsersRequest(page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.user_service.ListUsers, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def update_user(
    user: pb.User, *, update_mask: field_mask_pb2.FieldMask | None = None, timeout: float | None = None
) -> Call[pb.UpdateUserResponse]:
    """Changes a user. What it may no longer do is refused within a second.

    Args:
        user: The user, with its new values. If it has an etag, it must not have changed since.
        update_mask: The fields to change, of `email`, `display_name`, `roles` and `state`; those that are set
            when empty.
    """
    request = pb.UpdateUserRequest(user=user, update_mask=update_mask)
    return unary(lambda mesh: mesh.user_service.UpdateUser, request, unchanged, repeatable=False, timeout=timeout)


def delete_user(user_id: str, *, timeout: float | None = None) -> Call[None]:
    """Deletes a user and ends its sessions.

    Args:
        user_id: Its id.
    """
    request = pb.DeleteUserRequest(user_id=user_id)
    return unary(lambda mesh: mesh.user_service.DeleteUser, request, no_value, repeatable=True, timeout=timeout)


def reset_password(user_id: str, *, timeout: float | None = None) -> Call[pb.ResetPasswordResponse]:
    """Gives a user a password that works once, and ends its sessions.

    Args:
        user_id: The user.
    """
    request = pb.ResetPasswordRequest(user_id=user_id)
    return unary(lambda mesh: mesh.user_service.ResetPassword, request, unchanged, repeatable=False, timeout=timeout)


def change_password(current_password: str, new_password: str, *, timeout: float | None = None) -> Call[None]:
    """Changes the caller's own password, and ends the caller's other sessions.

    Args:
        current_password: The password until now.
        new_password: The new one: at least 12 characters.
    """
    request = pb.ChangePasswordRequest(current_password=current_password, new_password=new_password)
    return unary(lambda mesh: mesh.user_service.ChangePassword, request, no_value, repeatable=False, timeout=timeout)
