"""URLs of settings: each has one form, or is refused without repeating a password."""

from collections.abc import Callable

import pytest

from services.mesh.transport.address import split
from services.mesh.transport.url import http_url, postgres_url, redis_url


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("HTTPS://H.example", "https://h.example"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://h:8000/v1?api-version=2025-01-01", "http://h:8000/v1?api-version=2025-01-01"),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4"),
        ("http://my_service:80", "http://my_service:80"),
        ("http://h:/v1", "http://h/v1"),
        ("http://h/a%20b", "http://h/a%20b"),
    ],
)
def test_a_url_has_one_spelling(given: str, found: str) -> None:
    assert http_url(given) == found
    assert http_url(found) == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("localhost:11434", "write http://localhost:11434"),
        ("h/v1", "write http://h/v1"),
        ("", "no scheme"),
        ("ftp://h", "begins with ftp://"),
        ("http://", "no host"),
        ("http:///v1", "no host"),
        ("http://h:99999", "from 1 to 65535"),
        ("http://h:0", "from 1 to 65535"),
        ("http://h:port", "from 1 to 65535"),
        ("http://::1:80", "brackets"),
        ("http://[::1", "a host that is none"),
        ("http://a b", "holds a space"),
        ("http://h/\nv1", "holds a space, a line end"),
        ("http://h/v1#top", "fragment"),
        (f"http://{'ä' * 80}", "host name"),
        ("http://user:hunter2@h", "holds a user or a password"),
        ("user:hunter2@h", "write http://host"),
        ("http://user:hunter2@h:99999", "holds a user or a password"),
    ],
)
def test_an_invalid_url_is_refused_with_a_message(given: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        http_url(given)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        "postgres://soma:p%40ss@db:5432/soma",
        "postgresql://db/soma?sslmode=verify-full",
        "postgresql://soma@db1:5432,db2:5433/soma",
        "postgresql://soma@[::1]:5432/soma",
        "postgresql:///soma?host=/run/postgresql",
        "POSTGRESQL://db/soma",
    ],
)
def test_every_form_of_a_postgres_url_is_accepted(given: str) -> None:
    assert postgres_url(given).lower() == given.lower()


@pytest.mark.parametrize("given", ["redis://h", "rediss://:pw@h:6380/1", "redis://user:pw@[::1]:6379/0"])
def test_every_form_of_a_redis_url_is_accepted(given: str) -> None:
    assert redis_url(given) == given


@pytest.mark.parametrize(
    ("check", "given", "said"),
    [
        (postgres_url, "db:5432/soma", "write postgresql://db:5432/soma"),
        (postgres_url, "soma:hunter2@db/soma", "write postgresql://user:password@host"),
        (postgres_url, "postgresql+asyncpg://db/soma", "begins with postgresql+asyncpg://"),
        (postgres_url, "postgresql://soma:hunter2@db:99999/soma", "from 1 to 65535"),
        (postgres_url, "postgresql://soma:hunter2/x@db/soma", "percent-encoded"),
        (postgres_url, "postgresql://soma:hunter2#x@db/soma", "percent-encoded"),
        (postgres_url, "postgresql:///soma", "no host"),
        (redis_url, "h:6379", "write redis://h:6379"),
        (redis_url, "unix:///run/redis.sock", "redis or rediss"),
        (redis_url, "redis://:hunter2@h:99999", "from 1 to 65535"),
        (redis_url, "redis://h/soma", "number of a database"),
        (redis_url, "redis://:6379", "no host"),
        (split, "control", "host:port"),
        (split, "http://control:1", "host:port"),
        (split, "control:99999", "host:port"),
    ],
)
def test_another_form_of_url_is_refused_with_a_message(check: Callable[[str], object], given: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        check(given)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
