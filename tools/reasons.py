"""The reasons of errors that the contracts declare, and the Python module and page generated from them.

A reason is a value of an area's `ErrorReason` (proto/soma/<area>/v1/errors.proto) with the option
`soma.errors.v1.reason`. The set is read through a descriptor pool of its own, so that it can be read before the Python
generated from it is installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.rpc.code_pb2 import Code

PREFIX = "ERROR_REASON_"
# The package of services that exist only for tests.
TESTING = "soma.testing.v1"
# How google/rpc/code.proto maps canonical statuses to HTTP.
HTTP_STATUSES = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
_ENUM_FIELD, _VALUE_FIELD = 5, 2  # field numbers in FileDescriptorProto and EnumDescriptorProto, for paths of comments
_RETRIES = {"NO": "no", "LATER": "later", "AFTER_CHANGE": "after a change"}


@dataclass(frozen=True)
class Reason:
    """One declared reason."""

    area: str  # the package, `soma.model.v1`
    name: str  # as it is sent, `MODEL_NOT_FOUND`
    status: str  # canonical status, or `OK` when the contract gives none
    retry: str  # `NO`, `LATER`, `AFTER_CHANGE`, or `UNSPECIFIED` when the contract gives none
    http: int
    meaning: str  # the comment in one line; empty when comments were left out


def reasons_of(descriptors: bytes) -> list[Reason]:
    """Every reason of the `soma` packages in a serialised FileDescriptorSet, in file order."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.EnumValueOptions"))
    extension: Any = pool.FindExtensionByName("soma.errors.v1.reason")
    retries = extension.message_type.enum_types_by_name["Retry"].values_by_number
    found = []
    for file in files.file:
        for number, enum in enumerate(file.enum_type):
            if not file.package.startswith("soma.") or enum.name != "ErrorReason":
                continue
            for position, value in enumerate(enum.value):
                if value.number == 0:
                    continue
                options: Any = options_class.FromString(value.options.SerializeToString())
                option = options.Extensions[extension]
                status = Code.Name(option.status)
                found.append(
                    Reason(
                        area=file.package,
                        name=value.name.removeprefix(PREFIX),
                        status=status,
                        retry=retries[option.retry].name.removeprefix("RETRY_"),
                        http=option.http or HTTP_STATUSES.get(status, 0),
                        meaning=_comment(file, (_ENUM_FIELD, number, _VALUE_FIELD, position)),
                    )
                )
    return found


def gaps_of(reasons: Sequence[Reason]) -> list[str]:
    """Reasons without a status or retry, and reasons declared twice, in words."""
    areas = Counter(reason.name for reason in reasons)
    gaps = []
    for reason in reasons:
        where = f"{reason.area}.ErrorReason {reason.name}"
        if reason.status == "OK" or reason.retry == "UNSPECIFIED":
            gaps.append(f"{where}: has no status or no retry; add `(soma.errors.v1.reason)`")
        if areas[reason.name] > 1:
            gaps.append(f"{where}: is declared more than once; a reason means one thing in all areas")
    return gaps


def module(reasons: Sequence[Reason]) -> str:
    """The text of the Python module of constants, which imports no protobuf."""
    lines = [
        '"""Reasons of errors that the contracts declare (proto/soma/*/v1/errors.proto); written by `make gen`.',
        "",
        "Plain Python: modules that use neither gRPC nor protobuf may import it.",
        '"""',
        "",
        "from typing import Final, NamedTuple",
        "",
        "",
        "class Declared(NamedTuple):",
        '    """The facts of one reason."""',
        "",
        "    status: str",
        '    """Canonical status, by name."""',
        "    http: int",
        '    """HTTP status over REST."""',
        "    retry: str",
        '    """Whether the same call may succeed later: `NO`, `LATER`, `AFTER_CHANGE`."""',
        "",
        "",
        "# The HTTP status of each canonical status, for a reason that is not declared here.",
        "HTTP_STATUSES: Final[dict[str, int]] = {",
        *(f'    "{status}": {http},' for status, http in HTTP_STATUSES.items()),
        "}",
    ]
    for area, of_area in groupby(reasons, lambda reason: reason.area):
        lines += ["", f"# {area}"]
        for reason in of_area:
            lines += [f'{reason.name}: Final = "{reason.name}"', f'"""{reason.meaning}"""']
    lines += ["", "DECLARED: Final[dict[str, Declared]] = {"]
    lines += [f'    {each.name}: Declared("{each.status}", {each.http}, "{each.retry}"),' for each in reasons]
    return "\n".join([*lines, "}", ""])


def page(reasons: Sequence[Reason]) -> str:
    """The text of the page: a table for each area."""
    lines = [_HEAD]
    for area, of_area in groupby(reasons, lambda reason: reason.area):
        if area == TESTING:
            continue
        lines += [f"## {area.split('.')[1].capitalize()}", "", "| reason | status | HTTP | retry | what it means |"]
        lines += ["|---|---|---|---|---|"]
        for each in sorted(of_area, key=lambda reason: reason.name):
            lines.append(f"| `{each.name}` | {each.status} | {each.http} | {_RETRIES[each.retry]} | {each.meaning} |")
        lines.append("")
    return "\n".join(lines)


_HEAD = """\
# Errors

Written by `make gen` from the contracts (`proto/soma/*/v1/errors.proto`). An error is a `google.rpc.Status` with one
`google.rpc.ErrorInfo`, domain `soma`: programs act on its `reason`, people read the message. On OpenAI's paths the
reason is `code`, in lower case ([openai.md](openai.md)). An error without a reason of its own has the name of its
status as the reason. Any version may add reasons: a client that does not know one acts on the status.

Every reason is a constant in clients generated from the contracts: `ERROR_REASON_STORAGE_FULL` of
`soma.mesh.v1.ErrorReason` stands for `STORAGE_FULL`. In Python `soma.errors.v1.reasons.STORAGE_FULL` is the text.

*Retry* says whether the same call may succeed when it is made again: *no*; *later*, and not before the time in
`RetryInfo` or `Retry-After` where there is one; *after a change* of what the message names, such as a setting, a full
disk or the state of a resource.
"""


def _comment(file: descriptor_pb2.FileDescriptorProto, path: tuple[int, ...]) -> str:
    for location in file.source_code_info.location:
        if tuple(location.path) == path:
            return " ".join(location.leading_comments.split())
    return ""
