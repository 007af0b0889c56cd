"""What goes along with a call: the key, an id the mesh's logs know it by, and the time that is left."""

import logging
import os
import random
import time
import uuid

import grpc

from somamesh.calls import Call, Reader, Streaming
from somamesh.exceptions import APIError
from somamesh.failures import failed
from somamesh.retries import Retries

UNARY_SECONDS = 30.0
TURN_SECONDS = 600.0

_log = logging.getLogger("somamesh")


class Outgoing:
    """Sends the calls of one client on their way.

    Args:
        api_key: shown with every call.
        timeout: seconds a call may take that names no timeout of its own.
    """

    def __init__(self, api_key: str | None, timeout: float | None, retries: Retries) -> None:
        self._key = api_key
        self._timeout = timeout
        self._retries = retries
        self._process = os.getpid()
        self.closed = False

    def attempts(self, call: Call[object]) -> "Attempts":
        """The attempts at a call.

        Raises:
            RuntimeError: the client is closed, or was made before this process was forked.
        """
        self._require_usable()
        seconds = self._seconds(call.timeout, TURN_SECONDS if call.slow else UNARY_SECONDS)
        return Attempts(call.name, seconds, self._retries if call.repeatable else Retries(0), self._key)

    def attempt(self, streaming: Streaming[Reader[object]]) -> "Attempts":
        """The one attempt at a stream.

        Raises:
            RuntimeError: the client is closed, or was made before this process was forked.
        """
        self._require_usable()
        return Attempts(streaming.name, self._seconds(streaming.timeout, TURN_SECONDS), Retries(0), self._key)

    def _require_usable(self) -> None:
        if self.closed:
            raise RuntimeError("this client is closed")
        # gRPC's threads are not in the child of a fork: a call would wait for them for ever.
        if os.getpid() != self._process:
            raise RuntimeError("this client belongs to the process it was made in: make one after the fork")

    def _seconds(self, timeout: float | None, usual: float) -> float:
        if timeout is not None:
            return timeout
        return usual if self._timeout is None else self._timeout


class Attempts:
    """The attempts at one call; they share an id and a deadline."""

    def __init__(self, name: str, seconds: float, retries: Retries, key: str | None) -> None:
        self.request_id = f"req_{uuid.uuid4().hex}"
        named = (("x-request-id", self.request_id),)
        self.metadata = named if key is None else (*named, ("authorization", f"Bearer {key}"))
        self._name = name
        self._retries = retries
        self._done = 0
        self._started = time.monotonic()
        self._deadline = self._started + seconds

    def remaining(self) -> float:
        """Seconds left of the call's time."""
        return max(0.0, self._deadline - time.monotonic())

    def after(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            APIError: there is none.
        """
        failure = self.failure(error)
        wait = self._retries.wait(failure, done=self._done, remaining=self.remaining(), jitter=random.random())
        if wait is None:
            raise failure from error
        self._done += 1
        return wait

    def failure(self, error: grpc.RpcError) -> APIError:
        """The exception for how an attempt ended."""
        failure = failed(error, self.request_id)
        self.note(failure.reason)
        return failure

    def note(self, outcome: str) -> None:
        """Log how an attempt ended; never what was said."""
        seconds = time.monotonic() - self._started
        _log.debug("%s %s %s after %.3f s", self._name, self.request_id, outcome, seconds)
