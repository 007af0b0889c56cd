"""W3C trace context as it travels with a call (https://www.w3.org/TR/trace-context/)."""

import random
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_SPAN_ID = 2**64 - 1


class Trace(NamedTuple):
    """The trace of a call: trace id and span id as integers (128 and 64 bit), and whether spans are recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def hex_id(self) -> str:
        """The trace id as 32 lower-case hex digits."""
        return f"{self.trace_id:032x}"

    @property
    def traceparent(self) -> str:
        """The value of the header `traceparent`."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def new_trace(sample_ratio: float) -> Trace:
    """Start a trace; it is sampled with probability `sample_ratio`.

    Ids need to be unique, not secret: `random` is an order of magnitude cheaper than `secrets`.
    """
    bits = random.getrandbits(192)
    return Trace(bits >> 64 or 1, bits & _SPAN_ID or 1, random.random() < sample_ratio)


def parse(traceparent: str) -> Trace | None:
    """Read a `traceparent` header; None when it is not valid, as the specification asks."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not trace_id or not span_id:
        return None
    return Trace(trace_id, span_id, bool(int(match[3], 16) & _SAMPLED))
