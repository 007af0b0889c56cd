"""When a call that failed is made again, and how long to wait before; a rule without I/O."""

from dataclasses import dataclass

from soma.errors.v1 import reasons

from somamesh.exceptions import APIError

FIRST_SECONDS = 0.1
MOST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `most` further attempts, each after a longer wait, all within the call's time."""

    most: int

    def wait(self, failure: APIError, *, done: int, remaining: float, jitter: float) -> float | None:
        """Seconds until the next attempt; None to give up.

        Args:
            failure: how the latest attempt ended.
            done: attempts made again so far.
            remaining: seconds the call has left.
            jitter: a number drawn from [0, 1), so that clients which failed together do not come back together.
        """
        if done >= self.most or not _may_pass(failure):
            return None
        backoff = min(MOST_SECONDS, FIRST_SECONDS * 2**done) / 2
        least = backoff if failure.retry_after is None else failure.retry_after
        seconds = least + jitter * backoff
        return seconds if seconds < remaining else None


def _may_pass(failure: APIError) -> bool:
    """Not a limit that does not say when it lifts, such as a request too large; nor what was read too long ago."""
    if failure.status == "RESOURCE_EXHAUSTED":
        return failure.retry_after is not None
    return failure.status in ("UNAVAILABLE", "ABORTED") and failure.reason != reasons.ETAG_MISMATCH
