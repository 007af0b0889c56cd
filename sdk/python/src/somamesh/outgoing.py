"""What a call sends along: the API key, a request id for the logs of the mesh, and a deadline."""

import logging
import os
import random
import time
import uuid

import grpc

from somamesh.calls import Call, Reader, Streaming
from somamesh.exceptions import APIError
from somamesh.failures import from_rpc_error
from somamesh.retries import Retries

UNARY_SECONDS = 30.0
TURN_SECONDS = 600.0

_log = logging.getLogger("somamesh")


class Outgoing:
    """Starts the calls of one client.

    Args:
        api_key: sent with every call.
        timeout: seconds for a call that has no timeout of its own.
    """

    def __init__(self, api_key: str | None, timeout: float | None, retries: Retries) -> None:
        self._key = api_key
        self._timeout = timeout
        self._retries = retries
        self._process = os.getpid()
        self.closed = False

    def attempts(self, call: Call[object]) -> "Attempts":
        """The attempts of a call.

        Raises:
            RuntimeError: the client is closed, or was made before this process was forked.
        """
        self._require_usable()
        seconds = self._seconds(call.timeout, TURN_SECONDS if call.slow else UNARY_SECONDS)
        return Attempts(call.name, seconds, self._retries if call.repeatable else Retries(0), self._key)

    def attempt(self, streaming: Streaming[Reader[object]]) -> "Attempts":
        """The single attempt of a stream.

        Raises:
            RuntimeError: the client is closed, or was made before this process was forked.
        """
        self._require_usable()
        return Attempts(streaming.name, self._seconds(streaming.timeout, TURN_SECONDS), Retries(0), self._key)

    def _require_usable(self) -> None:
        if self.closed:
            raise RuntimeError("this client is closed")
        # A fork does not copy gRPC's threads into the child. A call there would wait for ever.
        if os.getpid() != self._process:
            raise RuntimeError("this client belongs to the process it was made in: make one after the fork")

    def _seconds(self, timeout: float | None, usual: float) -> float:
        if timeout is not None:
            return timeout
        return usual if self._timeout is None else self._timeout


class Attempts:
    """The attempts of one call; they share a request id and a deadline."""

    def __init__(self, name: str, seconds: float, retries: Retries, key: str | None) -> None:
        self.request_id = f"req_{uuid.uuid4().hex}"
        headers = (("x-request-id", self.request_id),)
        self.metadata = headers if key is None else (*headers, ("authorization", f"Bearer {key}"))
        self._name = name
        self._retries = retries
        self._done = 0
        self._started = time.monotonic()
        self._deadline = self._started + seconds

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def after(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            APIError: there is no next attempt.
        """
        failure = self.failure(error)
        wait = self._retries.wait(failure, done=self._done, remaining=self.remaining(), jitter=random.random())
        if wait is None:
            raise failure from error
        self._done += 1
        return wait

    def failure(self, error: grpc.RpcError) -> APIError:
        """The exception for a failed attempt; it is logged."""
        failure = from_rpc_error(error, self.request_id)
        self.note(failure.reason)
        return failure

    def note(self, outcome: str) -> None:
        """Log how an attempt ended, without the content of any message."""
        seconds = time.monotonic() - self._started
        _log.debug("%s %s %s after %.3f s", self._name, self.request_id, outcome, seconds)
