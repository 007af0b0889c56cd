"""The faults that are found in a request, and how a protocol words them."""

from typing import Annotated, Any, Literal

import orjson
import pytest
from pydantic import Field
from typing_extensions import TypedDict

from gateway.edge.faults import MOST_FAULTS, Fault
from gateway.edge.request_model import Reader, TextOr, Words, must, strict
from services.mesh.call.errors import InvalidArgument


@strict
class Leaf(TypedDict):
    """An object within a request."""

    type: Literal["leaf", "twig"]
    name: Annotated[str, Field(pattern="^[a-z]+$", max_length=3)]


@strict
class Tree(TypedDict, total=False):
    """A request."""

    leaves: Annotated[list[Leaf], Field(min_length=1, max_length=2, fail_fast=True)]
    height: Annotated[int, Field(ge=1, le=9)]
    weight: Annotated[float, Field(ge=0, le=2.5)]
    stem: TextOr[str, Leaf]
    labels: Annotated[dict[str, str], Field(max_length=2)]
    even: Annotated[int, must(lambda number: number % 2 == 0, "ODD", "{param} is odd")]
    nothing: None
    link: Annotated[str, Field(min_length=2)]
    day: Annotated[int, Field(multiple_of=7)]


def wrong(found: "list[Fault]") -> InvalidArgument:
    """The error of a protocol that names each fault by its kind."""
    return InvalidArgument("; ".join(f"{fault.kind} {fault.param}" for fault in found) or "too many")


READER = Reader(
    Tree, Words(not_json=lambda why: InvalidArgument(f"no JSON: {why}"), wrong=lambda found: wrong([*found]))
)
LEAF = {"type": "leaf", "name": "a"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"leaves": []}, "array_too_short leaves"),
        ({"leaves": [LEAF] * 3}, "array_too_long leaves"),
        ({"leaves": [LEAF, {"type": "leaf"}]}, "missing leaves[1].name"),
        ({"leaves": [{"type": "leaf", "mane": "a"}]}, "unknown leaves[0].mane; missing leaves[0].name"),
        ({"leaves": [{"name": "a", "mane": "a"}]}, "missing leaves[0].type; unknown leaves[0].mane"),
        ({"leaves": [{"type": "root", "name": "a"}]}, "choice leaves[0].type"),
        ({"leaves": [{"type": 1, "name": "a"}]}, "type leaves[0].type"),
        ({"leaves": [LEAF | {"name": "A"}]}, "pattern leaves[0].name"),
        ({"leaves": [LEAF | {"name": "abcd"}]}, "string_too_long leaves[0].name"),
        ({"leaves": [1, 2]}, "type leaves[0]"),
        ({"height": 0, "weight": 3}, "integer_below height; decimal_above weight"),
        ({"height": True, "weight": "3"}, "type height; type weight"),
        ({"stem": 5}, "type stem"),
        ({"stem": {"type": "leaf", "name": 5}}, "type stem.name"),
        ({"labels": {"a": 1}}, "type labels.a"),
        ({"labels": {"a": "", "b": "", "c": ""}}, "object_too_long labels"),
        ({"even": 3}, "other even"),
        ({"nothing": 3}, "unknown nothing"),
        ({"link": "a"}, "string_too_short link"),
        ({"day": 8}, "other day"),
        ({"union:text": 1}, "unknown union:text"),
        ({f"a{number}": 1 for number in range(MOST_FAULTS + 1)}, "too many"),
    ],
)
def test_each_fault_is_reported_with_its_kind_and_parameter(members: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        READER.json(orjson.dumps(members))
    assert caught.value.message == said


def test_a_fault_has_the_details_of_its_kind() -> None:
    found: list[Fault] = []

    def keep(faults: Any) -> InvalidArgument:
        found.extend(faults)
        return InvalidArgument("")

    members = {"leaves": [{"type": "root", "name": "abcd"}], "height": 10, "weight": 3, "even": 3, "day": 8}
    with pytest.raises(InvalidArgument):
        Reader(Tree, Words(InvalidArgument, keep)).members(members)
    assert {fault.param: (fault.facts, fault.own) for fault in found} == {
        "leaves[0].type": ({"value": "root", "expected": "'leaf', 'twig'"}, None),
        "leaves[0].name": ({"length": 4, "limit": 3}, None),
        "height": ({"value": 10, "limit": 9}, None),
        "weight": ({"value": 3, "limit": "2.5"}, None),
        "even": ({"got": "an integer"}, ("ODD", "{param} is odd")),
        "day": ({"message": "Input should be a multiple of 7"}, None),
    }


@pytest.mark.parametrize(("body", "why"), [(b"[]", "no JSON: expected an object."), (b"{", "no JSON: unexpected end")])
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        READER.json(body)


def test_a_request_has_only_the_given_members_and_no_defaults() -> None:
    assert READER.json(b'{"weight": 1, "stem": "a"}') == {"weight": 1.0, "stem": "a"}
