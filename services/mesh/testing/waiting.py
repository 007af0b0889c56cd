"""How tests wait for a condition that sends no notification: they check it again and again until it holds."""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial

SECONDS = 15.0
EVERY = 0.005
_NOTHING = object()


async def until(
    condition: Callable[[], object],
    what: str = "",
    *,
    seconds: float = SECONDS,
    every: float = EVERY,
    seen: Callable[[], object] | None = None,
) -> None:
    """Return once `condition` gives something true, at once or when awaited; an exception of its own passes.

    Args:
        what: is waited for, in words; the condition's own name, or its source, when left out.
        seconds: how long to wait, for the whole of it.
        every: seconds between two looks.
        seen: asked when the time is over, for what the condition looked at.

    Raises:
        TimeoutError: it did not in time; says what was waited for, and what was seen last.
    """
    last: object = _NOTHING
    try:
        async with asyncio.timeout(seconds) as deadline:
            while True:
                given = condition()
                last = await given if inspect.isawaitable(given) else given
                if last:
                    return
                await asyncio.sleep(every)
    except TimeoutError:
        if not deadline.expired():
            raise
    found = "nothing: it did not answer once" if last is _NOTHING else repr(last)
    more = f"; now: {seen()}" if seen is not None else ""
    raise TimeoutError(f"not within {seconds:g} s: {what or _described(condition)}; seen last: {found}{more}")


def _described(condition: Callable[[], object]) -> str:
    if isinstance(condition, partial):
        given = [*map(repr, condition.args), *(f"{name}={value!r}" for name, value in condition.keywords.items())]
        return f"{_described(condition.func)}({', '.join(given)})"
    name: str = getattr(condition, "__qualname__", "") or repr(condition)
    if name.endswith("<lambda>"):
        try:
            return " ".join(inspect.getsource(condition).split())
        except OSError:
            return name
    return name.rpartition("<locals>.")[2]
