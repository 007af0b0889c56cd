"""Gives a client's method the name, documentation and signature of the function that builds its call."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

M = TypeVar("M", bound=Callable[..., Any])

SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def documented(method: M, build: Callable[..., Any], returns: object) -> M:
    """Return `method` with the parameters of `build` after `self` and a return type, for `help` and editors."""
    functools.update_wrapper(method, build)
    signature = inspect.signature(build)
    parameters = (SELF, *signature.parameters.values())
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return method
