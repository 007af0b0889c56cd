"""Deletes facts that have expired, in the background; reads never show them."""

import asyncio

import structlog

from services.memory.store.facts import FactStore
from services.mesh import errors

log = structlog.get_logger("memory")


async def sweep(facts: FactStore, interval: float) -> None:
    """Sweep every `interval` seconds until cancelled."""
    while True:
        await asyncio.sleep(interval)
        try:
            while deleted := await facts.sweep():
                log.info("expired facts deleted", count=deleted)
        except errors.Unavailable as error:
            log.info("sweeping waits", reason=error.reason)
        except Exception:
            log.exception("sweeping failed")
