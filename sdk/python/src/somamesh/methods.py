"""Gives a client's method the name, documentation and signature of what it makes its call from."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

M = TypeVar("M", bound=Callable[..., Any])

SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def documented(method: M, build: Callable[..., Any], returns: object) -> M:
    """`method`, for `help` and editors: the parameters of `build` after `self`, and what it returns."""
    functools.update_wrapper(method, build)
    signature = inspect.signature(build)
    parameters = (SELF, *signature.parameters.values())
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return method
