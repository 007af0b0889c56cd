"""The members of a request, in a vendor's form: what it lacks is refused or left out, by name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.model.adapters.http1.connections import Form
from services.model.adapters.multipart import File, form_of
from services.model.json_text import parse_object
from services.model.methods import Method

_PARAMS = "provider_params"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of OpenAI's request that is set: its name, its value, and its field in the contract."""

    name: str
    value: Any
    field: str


@dataclass(slots=True)
class Asked:
    """A request before it is sent.

    Attributes:
        path: the path of the method.
        body: its members, without files.
        dropped: fields of the contract that were left out.
        files: by the name of their member.
    """

    path: str
    body: dict[str, Any]
    dropped: list[str] = field(default_factory=list)
    files: list[tuple[str, File]] = field(default_factory=list)

    def form(self) -> tuple[bytes, Form]:
        """The request as a form with files."""
        return form_of(self.body, self.files)


def asked(
    provider: str,
    method: Method,
    path: str,
    fixed: Mapping[str, Any],
    members: Sequence[Member],
    params: str,
    *,
    own: Collection[str],
    drop: bool = False,
    within: str = "",
) -> Asked:
    """The request with these members.

    Args:
        fixed: members that every vendor has, such as the model.
        params: `provider_params` of the request.
        own: the members that the contract has fields for, and those that would change how the answer is read.
        drop: whether what the vendor lacks is left out.
        within: the field of the contract that has `provider_params`, with a dot.

    Raises:
        InvalidArgument: the vendor lacks a member, or `provider_params` are not valid; the error names the fields.
    """
    more = parse_object(params, within + _PARAMS) if params else {}
    if taken := sorted(more.keys() & {*own, *fixed}):
        raise errors.InvalidArgument(
            f"{_PARAMS} cannot have {', '.join(taken)}: the contract has a field for it",
            violations=[errors.FieldViolation(f"{within}{_PARAMS}.{name}", "cannot be here") for name in taken],
        )
    lacked = [each.field for each in members if each.name in method.lacks]
    refused = [
        name
        for name in more
        if f"{_PARAMS}.{name}" in method.lacks or (method.takes is not None and name not in method.takes)
    ]
    dropped = [*lacked, *(f"{within}{_PARAMS}.{name}" for name in refused)]
    if dropped and not drop:
        raise unsupported(provider, *dropped)
    kept = {each.name: each.value for each in members if each.name not in method.lacks}
    body = dict(fixed)
    for name, value in kept.items():
        body[method.renames.get(name, name)] = value
    body.update((name, value) for name, value in more.items() if name not in refused)
    return Asked(path, body, dropped)


def unsupported(provider: str, *fields: str) -> errors.InvalidArgument:
    """The error for fields that a provider does not support."""
    return errors.InvalidArgument(
        f"{provider} does not support {', '.join(fields)} with this model",
        reason=reasons.PARAMETER_NOT_SUPPORTED,
        metadata={"provider": provider},
        violations=[errors.FieldViolation(each, "is not supported by this provider") for each in fields],
    )


def missing(provider: str, model: str, what: str) -> errors.InvalidArgument:
    """The error for a method that a vendor does not have."""
    return errors.InvalidArgument(
        f"{provider} has no method that {what}",
        reason=reasons.MODEL_CAPABILITY_MISSING,
        metadata={"provider": provider, "model": model},
    )
