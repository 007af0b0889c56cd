"""Reads a vendor's list of models. An entry that cannot be read is left out, and the others are used."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from soma.model.v1.catalog_service_pb2 import Model

from services.model.adapters import refusal

_log = structlog.get_logger(__name__)

# The last second of a protobuf timestamp, in the year 9999. A larger number counts smaller units than seconds.
_LAST_SECOND = 253_402_300_799
_PARTS = (1, 1_000, 1_000_000, 1_000_000_000)


def models_of(provider: str, listing: Any, read: Callable[[str, dict[str, Any]], Model]) -> list[Model]:
    """The models of a list in any of the usual shapes; `read` makes a model from its name and its entry.

    Raises:
        Unavailable: the document is not a list of models.
    """
    models = []
    for name, entry in _entries(provider, listing):
        try:
            models.append(read(name, entry))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            _log.warning(
                "provider_model_left_out", provider=provider, model=ascii(name)[:128], problem=str(error)[:200]
            )
    return models


def made_at(value: object) -> Timestamp | None:
    """The time when a model was made, from seconds, milliseconds or smaller units, or from ISO 8601; else None."""
    try:
        if isinstance(value, str) and not value.isdigit():
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    fitting = (seconds / part for part in _PARTS if seconds / part <= _LAST_SECOND)
    return next((Timestamp(seconds=int(fit)) for fit in fitting), None)


def _entries(provider: str, listing: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    found = listing
    if isinstance(listing, dict):
        found = next((listing[name] or [] for name in ("data", "models") if name in listing), None)
    if not isinstance(found, list):
        raise refusal.protocol_error(provider, "its list of models has another shape")
    for entry in found:
        if isinstance(entry, str):
            entry = {"id": entry}
        named = (entry.get(member) for member in ("id", "name", "model")) if isinstance(entry, dict) else ()
        name = next((each for each in named if isinstance(each, str | int) and each), None)
        if name is None:
            _log.warning("provider_model_left_out", provider=provider, problem="it has no id")
        else:
            yield str(name), entry
