"""URLs of servers in settings: each is brought into one form, or refused with an explanation.

A URL may hold a password, so no message repeats its user or its query.
"""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, quote, urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@\s]*)(?::(\d*))?")
_LARGEST_PORT = 65535
# Characters of a path or a query that are not encoded; a percent sign is taken as the beginning of an escape.
_NOT_ENCODED = "/%:@!$&'()*+,;=~-._?"


def http_url(text: str) -> str:
    """An `http` or `https` URL: scheme and host in lower case, the host in ASCII, without a slash at its end.

    A query stays.

    Raises:
        ValueError: it is no such URL, or holds a user, a password or a fragment.
    """
    parts = _split(text, ("http", "https"), "http://host:8000/v1")
    if "@" in parts.netloc:
        raise ValueError("the URL holds a user or a password, which could be seen in logs; give a key in its setting")
    if parts.fragment:
        raise ValueError("the URL has a fragment (#…), which no server is sent; leave it out")
    host, port = _host(parts.netloc)
    if not host:
        raise ValueError("the URL has no host")
    path, query = quote(parts.path.rstrip("/"), safe=_NOT_ENCODED), quote(parts.query, safe=_NOT_ENCODED)
    return f"{parts.scheme}://{host}{port}{path}{f'?{query}' if query else ''}"


def postgres_url(text: str) -> str:
    """A Postgres URL, of one host or several (`host1:5432,host2`), or of a socket named by `?host=`.

    Raises:
        ValueError: it is no such URL.
    """
    parts = _split(text, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")
    hosts = parts.netloc.rpartition("@")[2]
    for each in hosts.split(","):
        _host(each)
    if not hosts and "host=" not in parts.query:
        raise ValueError("the URL has no host")
    _refuse_fragment(parts)
    return text


def redis_url(text: str) -> str:
    """A Redis URL; `rediss` is TLS, the path the number of a database.

    Raises:
        ValueError: it is no such URL.
    """
    parts = _split(text, ("redis", "rediss"), "redis://:password@host:6379/0")
    host, _ = _host(parts.netloc.rpartition("@")[2])
    if not host:
        raise ValueError("the URL has no host")
    if parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise ValueError("what follows the host is the number of a database, such as /0")
    _refuse_fragment(parts)
    return text


def llm_url(text: str) -> str:
    """The URL of the part `llm`; its key is the password.

    Raises:
        ValueError: it is no such URL.
    """
    parts = _split(text, ("http", "https"), "http://:key@host:port")
    host, _ = _host(parts.netloc.rpartition("@")[2])
    if not host:
        raise ValueError("the URL has no host")
    _refuse_fragment(parts)
    return text


def _split(text: str, schemes: Collection[str], example: str) -> SplitResult:
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("the URL holds a space, a line end or a control character")
    scheme, separator, rest = text.partition("://")
    if not separator:
        # The example in the message would repeat a password or a key.
        secret = "@" in text or "?" in text
        raise ValueError(f"the URL has no scheme; write {example if secret else f'{next(iter(schemes))}://{text}'}")
    if scheme.lower() not in schemes:
        raise ValueError(f"the URL begins with {scheme}://; it has to be {' or '.join(schemes)}, as in {example}")
    try:
        return urlsplit(f"{scheme.lower()}://{rest}")
    except ValueError:
        raise ValueError(f"the URL has a host that is none; it is written like {example}") from None


def _host(netloc: str) -> tuple[str, str]:
    """The host in ASCII, and `:port`, which is empty where the URL has no port."""
    match = _HOST.fullmatch(netloc)
    if match is None or (match[2] and not _is_port(match[2])):
        raise ValueError(
            f"the URL has a host or a port that is none: a port is a number from 1 to {_LARGEST_PORT}, an IPv6 address "
            "stands in brackets, and the characters / ? # @ : of a password are percent-encoded"
        )
    host = match[1].lower()
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("the URL has a host name that is none") from None
    return host, f":{match[2]}" if match[2] else ""


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= _LARGEST_PORT


def _refuse_fragment(parts: SplitResult) -> None:
    if parts.fragment:
        raise ValueError("the URL holds a #; in a password it is written %23")
