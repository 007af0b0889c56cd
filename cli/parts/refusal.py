"""Which errors of a connection no waiting mends, told apart from those of a server that is still starting."""

import ssl

import asyncpg

# SQLSTATE classes (PostgreSQL, appendix A) of a server that starts, stops, is full, or fails over.
PASSING_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
# The other end went away in the middle of a handshake.
CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
# Answers of a Redis that is starting, busy, full, or fails over.
PASSING_ANSWERS = (
    "BUSY",
    "CLUSTERDOWN",
    "ERR max number of clients",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "OOM",
    "READONLY",
    "TRYAGAIN",
)


def lasts(error: Exception) -> bool:
    """Whether connecting to a Postgres or Redis will fail with this error until somebody changes something."""
    match error:
        case asyncpg.PostgresError():
            return not (error.sqlstate or "XX").startswith(PASSING_CLASSES)
        case ssl.SSLError():
            return not isinstance(error, CUT_OFF)
        case ConnectionError():
            # asyncpg has no class of its own for a server without TLS.
            return "rejected SSL upgrade" in str(error)
    # What the URL, variables or files beside it say is wrong: nothing was sent yet.
    return isinstance(error, (ValueError, PermissionError))


def answer_lasts(answer: str) -> bool:
    """Whether what a Redis answered, without the sign before it, will not change by itself; an empty answer may."""
    return bool(answer) and not answer.startswith(PASSING_ANSWERS)
