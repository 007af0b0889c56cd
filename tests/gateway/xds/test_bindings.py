"""Which paths a binding matches, and the order of the bindings."""

import re

import pytest

from gateway.contracts import descriptor_set, public_services
from gateway.xds.bindings import Binding, bindings


def binding(template: str, verb: str = "GET") -> Binding:
    return Binding("soma.x.v1.XService", "Get", verb, template, "", "soma.x.v1.GetRequest", False)


@pytest.mark.parametrize(
    ("template", "path", "taken"),
    [
        ("/v1/usage", "/v1/usage", True),
        ("/v1/usage", "/v1/usage/", False),
        ("/v1/us.ge", "/v1/usage", False),
        ("/v1/runs/{id}", "/v1/runs/a", True),
        ("/v1/runs/{id}", "/v1/runs/a%2Fb", True),
        ("/v1/runs/{id}", "/v1/runs/a/b", False),
        ("/v1/runs/{id}:cancel", "/v1/runs/a:cancel", True),
        ("/v1/runs/{id}:cancel", "/v1/runs/a", False),
        ("/v1/recall/{key=**}", "/v1/recall/a/b:c", True),
        ("/v1/recall/{key=**}", "/v1/recall", False),
        ("/v1/{name=shelves/*}/books/{id}", "/v1/shelves/1/books/2", True),
        ("/v1/{name=shelves/*}/books/{id}", "/v1/boxes/1/books/2", False),
    ],
)
def test_a_template_matches_its_paths_only(template: str, path: str, taken: bool) -> None:
    assert (re.fullmatch(binding(template).regex, path) is not None) == taken


def test_a_binding_that_matches_fewer_paths_is_tried_first() -> None:
    templates = ["/v1/runs/{id}:cancel", "/v1/runs/{id}", "/v1/{name=**}"]
    literal = "/v1/runs/all"
    ordered = sorted([*reversed(templates), literal], key=lambda template: binding(template).breadth)
    assert ordered == [literal, *templates]


def test_every_offered_rpc_with_a_binding_is_found() -> None:
    offered = [each for each in bindings(descriptor_set()) if each.service in public_services()]
    recall = next(each for each in offered if each.method == "Recall")
    assert (recall.verb, recall.template, recall.body) == ("GET", "/v1/recall/{key=**}", "")
    remember = next(each for each in offered if each.method == "Remember")
    assert (remember.verb, remember.body, remember.request) == ("POST", "*", "soma.memory.v1.RememberRequest")
