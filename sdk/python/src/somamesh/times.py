"""Converts points in time from protobuf to Python."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def moment(stamp: Timestamp) -> datetime | None:
    """A time in UTC; None when it was not set."""
    return stamp.ToDatetime(UTC) if stamp.ListFields() else None
