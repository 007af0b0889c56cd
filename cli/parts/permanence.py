"""Tells permanent errors of a connection from temporary ones, such as those of a server that is starting."""

import ssl

import asyncpg

# SQLSTATE classes (PostgreSQL, appendix A) of a server that starts, stops, is full or is in a failover.
PASSING_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
# The server closed the connection during the handshake.
CUT_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
# Answers of a Redis that starts, is busy or full, or is in a failover.
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


def is_permanent(error: Exception) -> bool:
    """Whether an error of connecting to a Postgres or Redis will repeat until somebody changes something."""
    match error:
        case asyncpg.PostgresError():
            return not (error.sqlstate or "XX").startswith(PASSING_CLASSES)
        case ssl.SSLError():
            return not isinstance(error, CUT_OFF)
        case ConnectionError():
            # asyncpg has no class of its own for a server without TLS.
            return "rejected SSL upgrade" in str(error)
    # The URL, a variable or a file is wrong, and nothing was sent yet.
    return isinstance(error, (ValueError, PermissionError))


def is_permanent_answer(answer: str) -> bool:
    """Whether an error answer of a Redis is permanent; `-` is cut off before. An empty answer is temporary."""
    return bool(answer) and not answer.startswith(PASSING_ANSWERS)
