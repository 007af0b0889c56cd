"""Decides whether a failed call is retried, and after how long; a rule without I/O."""

from dataclasses import dataclass

from soma.errors.v1 import reasons

from somamesh.exceptions import APIError

FIRST_SECONDS = 0.1
MOST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `most` retries, each after a longer wait, all before the call's deadline."""

    most: int

    def wait(self, failure: APIError, *, done: int, remaining: float, jitter: float) -> float | None:
        """Seconds until the next attempt; None when there is no retry.

        Args:
            failure: how the latest attempt ended.
            done: retries so far.
            remaining: seconds until the call's deadline.
            jitter: a random number in [0, 1), so that clients that failed together do not retry together.
        """
        if done >= self.most or not _may_pass(failure):
            return None
        backoff = min(MOST_SECONDS, FIRST_SECONDS * 2**done) / 2
        least = backoff if failure.retry_after is None else failure.retry_after
        seconds = least + jitter * backoff
        return seconds if seconds < remaining else None


def _may_pass(failure: APIError) -> bool:
    """Whether a retry can succeed.

    It cannot after a limit without `retry_after`, such as a request that is too large, or after a wrong etag.
    """
    if failure.status == "RESOURCE_EXHAUSTED":
        return failure.retry_after is not None
    return failure.status in ("UNAVAILABLE", "ABORTED") and failure.reason != reasons.ETAG_MISMATCH
