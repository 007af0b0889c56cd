"""People and programs of a test: users who have logged in, and service accounts."""

import uuid
from typing import Any

import httpx

from tests.e2e.stack import CALL_SECONDS, Stack

PASSWORD = "seven grey herons wade slowly"


def named() -> str:
    """A name that nobody has."""
    return f"n{uuid.uuid4().hex[:12]}"


def with_key(stack: Stack, key: str) -> httpx.AsyncClient:
    """An HTTP client with a credential."""
    return stack.http(authorization=f"Bearer {key}")


async def account(http: httpx.AsyncClient, *scopes: str, **fields: Any) -> dict[str, Any]:
    """A new service account; its key is `api_key`."""
    asked = {"name": named(), "scopes": scopes, "tier": "unlimited", **fields}
    made: dict[str, Any] = (await http.post("/v1/service-accounts", json=asked)).raise_for_status().json()
    return made


async def user(http: httpx.AsyncClient, *roles: str, tenant: str = "default") -> dict[str, Any]:
    """A new user in the tenant of `http`, who has logged in with a password of their own.

    Returns the answer to the login, with `username`.
    """
    username = named()
    made = (await http.post("/v1/users", json={"username": username, "roles": roles})).raise_for_status().json()
    async with httpx.AsyncClient(base_url=http.base_url, timeout=CALL_SECONDS) as anybody:
        return {**await first_login(anybody, tenant, username, made["password"]), "username": username}


async def first_login(anybody: httpx.AsyncClient, tenant: str, username: str, password: str) -> dict[str, Any]:
    """The answer to a login after the first password was changed to one of the person's own."""

    async def login(secret: str) -> dict[str, Any]:
        said = {"tenant_id": tenant, "username": username, "password": secret}
        answer: dict[str, Any] = (await anybody.post("/v1/auth/login", json=said)).raise_for_status().json()
        return answer

    change = {"current_password": password, "new_password": PASSWORD}
    headers = {"authorization": f"Bearer {(await login(password))['access_token']}"}
    (await anybody.post("/v1/auth/password", json=change, headers=headers)).raise_for_status()
    return await login(PASSWORD)


def reason_of(answer: httpx.Response) -> str:
    """The reason of an error over REST."""
    details: list[dict[str, Any]] = answer.json()["error"]["details"]
    return next((str(detail["reason"]) for detail in details if "reason" in detail), "")
