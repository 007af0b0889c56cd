"""Which surfaces the gateway serves, refuses, remembers and forgets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soma.mesh.v1 import surface_pb2 as pb

from gateway.surfaces import AWAY_SECONDS, MAX_SURFACES, Surfaces, load_surfaces
from services.mesh.process.registry.leases import Joined
from services.mesh.surfaces.template import template
from tests.gateway.surfaces import EDGE


def surface(service: str, *paths: str, name: str = "api", **fields: Any) -> pb.Surface:
    """A surface as a service announces it."""
    return pb.Surface(service=service, name=name, paths=paths, **fields)


def joined(number: int, *surfaces: pb.Surface, services: Sequence[str] = ()) -> Joined:
    """An instance that announces these surfaces."""
    names = tuple(dict.fromkeys([*services, *(each.service for each in surfaces)]))
    return Joined(
        instance_id=str(number),
        services=names,
        grpc_services=(),
        grpc_address="127.0.0.1:1",
        unary_address="",
        http_addresses=dict.fromkeys(names, f"127.0.0.1:{1000 + number}"),
        admin_address="",
        pid=number,
        version="1",
        heard=0.0,
        surfaces=surfaces,
    )


def shape(body: dict[str, Any], **fields: Any) -> pb.SurfaceErrors:
    """An error shape as a service announces it."""
    errors = pb.SurfaceErrors(**fields)
    errors.body.update(body)
    return errors


class Gate:
    """The surfaces of a gateway with one contract."""

    def __init__(self, file: Path) -> None:
        self.surfaces = Surfaces(["/v1/notes/{name=**}:archive"], ["grpc", "soma"], file, 0.0)

    def update(self, *instances: Joined, now: float = 0.0) -> dict[str, tuple[str, ...]]:
        """Let exactly these instances be live; return the paths of the served surfaces, by name."""
        self.surfaces.update(instances, now)
        return {f"{each.service}/{each.name}": tuple(each.paths) for each in self.surfaces.all}

    def reasons(self, number: int) -> list[str]:
        """The reasons for which surfaces of an instance are refused."""
        return [each.reason for each in self.surfaces.refused.get(str(number), ())]

    def message(self, number: int) -> str:
        """The message of the only refusal of an instance."""
        (refusal,) = self.surfaces.refused[str(number)]
        return refusal.message


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gateway without surfaces."""
    return Gate(tmp_path / "envoy" / "surfaces.json")


def test_an_announced_surface_is_served_by_the_instances_that_announce_it(gate: Gate) -> None:
    served = gate.update(joined(1, surface("a", "/a")), joined(2, surface("a", "/a")), joined(3, surface("b", "/b")))
    assert served == {"a/api": ("/a",), "b/api": ("/b",)}
    assert gate.surfaces.instances("a") == {"1", "2"}
    assert gate.surfaces.instances("b") == {"3"}
    assert gate.surfaces.refused == {}


@pytest.mark.parametrize(
    ("path", "whose"),
    [
        ("/a/{id}", "/a/{id} is /a/{rest=**} of a/api"),
        ("/a/b/c", "of a/api"),
        ("/v1/notes/{name}", "the contract's /v1/notes/{name=**}:archive"),
        ("/health", "the gateway's own"),
        ("/docs/page.js", "the gateway's own"),
        ("/soma.memory.v1.MemoryService/Recall", "a path of gRPC"),
        ("/grpc.health.v1.Health/Check", "a path of gRPC"),
    ],
)
def test_a_surface_with_a_taken_path_is_refused_and_all_others_are_served(gate: Gate, path: str, whose: str) -> None:
    first = joined(1, surface("a", "/a/{rest=**}"))
    both = joined(2, surface("b", "/b", path), surface("b", "/well", name="other"))
    assert gate.update(first, both) == {"a/api": ("/a/{rest=**}",), "b/other": ("/well",)}
    assert (gate.reasons(1), gate.reasons(2)) == ([], ["SURFACE_TAKEN"])
    assert whose in gate.message(2)


def test_the_path_of_a_websocket_can_be_taken_too(gate: Gate) -> None:
    gate.update(joined(1, pb.Surface(service="a", name="s", sockets=["/live"])), joined(2, surface("b", "/live")))
    assert gate.reasons(2) == ["SURFACE_TAKEN"]


def test_a_space_belongs_to_one_surface_and_may_contain_a_smaller_space(gate: Gate) -> None:
    def spaced(service: str, prefix: str) -> pb.Surface:
        space = pb.SurfaceSpace(prefixes=[prefix], message="none", reason="NO_SUCH_PATH")
        return surface(service, f"/{service}", spaces=[space])

    gate.update(
        *(
            joined(n, spaced(service, at))
            for n, (service, at) in enumerate([*zip("abc", ["/x", "/x/y", "/x"], strict=True)])
        )
    )
    assert [gate.reasons(number) for number in range(3)] == [[], [], ["SURFACE_TAKEN"]]
    assert "the space /x is that of a/api" in gate.message(2)


@pytest.mark.parametrize(
    ("announced", "why"),
    [
        (surface("a"), "no paths"),
        (surface("a", "a"), "no template"),
        (surface("a", "/{rest=**}"), "no template"),
        (surface("a", "/a/[^/]+"), "no template"),
        (surface("a", "/a", streams=["/b"]), "not among its paths"),
        (surface("control-http", "/a"), "no service is called control-http"),
        (surface("a", "/a", errors=shape({"a": "{b}"})), "no placeholder {b}"),
        (surface("a", "/a", errors=shape({"a": "b"}, headers={"connection": "x"})), "no header"),
    ],
)
def test_an_invalid_surface_is_refused_with_what_is_wrong(gate: Gate, announced: pb.Surface, why: str) -> None:
    assert gate.update(joined(1, announced), joined(2, surface("b", "/b"))) == {"b/api": ("/b",)}
    assert gate.reasons(1) == ["SURFACE_INVALID"]
    assert why in gate.message(1)


def test_a_surface_that_is_announced_twice_or_for_another_service_is_refused(gate: Gate) -> None:
    stranger = joined(1, services=["b"])
    twice = joined(2, surface("c", "/c"), surface("c", "/d"))
    gate.update(
        Joined(**{name: getattr(stranger, name) for name in stranger.__slots__} | {"surfaces": (surface("a", "/a"),)}),
        twice,
    )
    assert (gate.reasons(1), gate.reasons(2)) == (["SURFACE_INVALID"], ["SURFACE_INVALID"])
    assert "serves no a" in gate.message(1)
    assert "more than once" in gate.message(2)
    assert gate.surfaces.all == ()


def test_a_surface_over_the_maximum_number_is_refused(gate: Gate) -> None:
    many = [surface("a", f"/a/{number}", name=f"s{number}") for number in range(MAX_SURFACES)]
    gate.update(joined(1, *many), joined(2, surface("b", "/b")))
    assert (len(gate.surfaces.all), gate.reasons(2)) == (MAX_SURFACES, ["SURFACES_FULL"])
    # An instance may announce a known surface: it is not an additional one.
    gate.update(joined(1, *many), joined(3, many[0]))
    assert gate.reasons(3) == []


def test_a_refused_surface_is_served_once_the_other_one_is_gone(gate: Gate) -> None:
    second = joined(2, surface("b", "/a"))
    assert gate.update(joined(1, surface("a", "/a")), second) == {"a/api": ("/a",)}
    # The service is back without the surface.
    assert gate.update(joined(3, services=["a"]), second) == {"b/api": ("/a",)}
    assert gate.surfaces.refused == {}


def test_a_surface_refused_for_a_path_of_an_older_version_is_served_once_that_is_gone(gate: Gate) -> None:
    old, new, other = joined(1, surface("a", "/a", "/b")), joined(2, surface("a", "/a")), joined(3, surface("b", "/b"))
    assert gate.update(old, new, other) == {"a/api": ("/a", "/b")}
    assert gate.update(new, other) == {"a/api": ("/a",), "b/api": ("/b",)}


def test_the_surface_of_an_unavailable_service_has_no_instances(gate: Gate) -> None:
    gate.update(joined(1, surface("a", "/a")))
    assert gate.update(now=10.0) == {"a/api": ("/a",)}
    assert gate.surfaces.instances("a") == frozenset()
    assert gate.update(joined(2, surface("a", "/a")), now=20.0) == {"a/api": ("/a",)}
    assert gate.surfaces.instances("a") == {"2"}


def test_a_surface_whose_service_is_unavailable_for_long_is_forgotten(gate: Gate) -> None:
    gate.update(joined(1, surface("a", "/a")))
    gate.update(now=100.0)
    assert gate.update(now=100.0 + AWAY_SECONDS) == {"a/api": ("/a",)}
    assert gate.update(now=101.0 + AWAY_SECONDS) == {}


def test_a_surface_that_is_served_is_never_forgotten(gate: Gate) -> None:
    first = joined(1, surface("a", "/a"))
    gate.update(first)
    assert gate.update(first, now=10 * AWAY_SECONDS) == {"a/api": ("/a",)}
    assert gate.update(now=10 * AWAY_SECONDS) == {"a/api": ("/a",)}


def test_during_an_upgrade_the_paths_of_both_versions_are_served_and_then_those_of_the_new_one(
    gate: Gate,
) -> None:
    old = joined(1, surface("a", "/a", "/old", max_body_bytes=1))
    new = joined(2, surface("a", "/a", "/new", max_body_bytes=2))
    gate.update(old)
    assert gate.update(old, new) == {"a/api": ("/a", "/old", "/new")}
    assert gate.surfaces.all[0].max_body_bytes == 2
    assert gate.update(new) == {"a/api": ("/a", "/new")}
    # After a rollback the older version joins last, and the paths of the newer one leave with it.
    back = joined(3, old.surfaces[0])
    assert gate.update(new, back) == {"a/api": ("/a", "/new", "/old")}
    assert gate.update(back) == {"a/api": ("/a", "/old")}
    assert gate.update() == {"a/api": ("/a", "/old")}


def test_a_new_version_that_is_refused_leaves_the_one_that_is_served(gate: Gate) -> None:
    old, other = joined(1, surface("a", "/a")), joined(2, surface("b", "/b"))
    gate.update(old, other)
    new = joined(3, surface("a", "/a", "/b"))
    assert gate.update(old, other, new) == {"a/api": ("/a",), "b/api": ("/b",)}
    assert gate.reasons(3) == ["SURFACE_TAKEN"]
    assert gate.surfaces.instances("a") == {"1"}


def test_an_accepted_surface_is_known_after_a_restart(gate: Gate, tmp_path: Path) -> None:
    spaces = [pb.SurfaceSpace(prefixes=["/a"], message="none", reason="NO_SUCH_PATH")]
    errors = shape({"wrong": "{message}", "n": -32603}, codes={404: "none"}, statuses={503: 529})
    errors.kinds[400].number_value = -32600
    announced = surface("a", "/a/{id}", sockets=["/a/{id}/live"], spaces=spaces, errors=errors)
    gate.update(joined(1, announced), joined(2, surface("b", "/b")))
    again = Gate(tmp_path / "envoy" / "surfaces.json")
    assert again.surfaces.all == (announced, surface("b", "/b"))
    # The time away counts from the restart, however long the gateway ran before.
    assert set(again.update(now=AWAY_SECONDS)) == {"a/api", "b/api"}
    assert again.update(joined(3, surface("b", "/b")), now=AWAY_SECONDS + 1) == {"b/api": ("/b",)}
    assert Gate(tmp_path / "envoy" / "surfaces.json").surfaces.all == (surface("b", "/b"),)


def test_a_surface_whose_path_a_contract_has_taken_is_not_known_after_a_restart(gate: Gate, tmp_path: Path) -> None:
    gate.update(joined(1, surface("a", "/a")), joined(2, surface("b", "/b")))
    later = Surfaces(["/a"], (), tmp_path / "envoy" / "surfaces.json", 0.0)
    assert [each.service for each in later.all] == ["b"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"surfaces": 1}', '{"surfaces": [{"nothing": 1}]}', '{"surfaces": [1]}']
)
def test_a_file_that_cannot_be_read_counts_as_missing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "surfaces.json"
    file.write_text(text)
    gate = Gate(file)
    assert gate.surfaces.all == ()
    gate.update(joined(1, surface("a", "/a")))
    assert [each["service"] for each in json.loads(file.read_text())["surfaces"]] == ["a"]


def test_without_a_writable_file_surfaces_are_served_but_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "envoy").write_text("a file where the folder should be")
    assert Gate(tmp_path / "envoy" / "surfaces.json").update(joined(1, surface("a", "/a"))) == {"a/api": ("/a",)}


def test_the_surfaces_of_the_edge_are_accepted_with_all_contracts(tmp_path: Path) -> None:
    known = load_surfaces(tmp_path / "surfaces.json")
    known.update([joined(1, *EDGE)], 0.0)
    assert known.refused == {}
    assert known.all == EDGE


PATHS = st.sampled_from(["/a", "/a/{x}", "/a/{x=**}", "/a/b", "/b/{x}/c", "/b/d/{x}", "/c"])
ANNOUNCED = st.builds(
    lambda service, name, paths: surface(service, *paths, name=name),
    st.sampled_from(["s", "t", "u"]),
    st.sampled_from(["one", "two"]),
    st.lists(PATHS, min_size=1, max_size=3, unique=True),
)
CROWDS = st.lists(st.lists(ANNOUNCED, max_size=2, unique_by=lambda s: (s.service, s.name)), max_size=4)


@settings(deadline=None)
@given(st.lists(CROWDS, max_size=5))
def test_no_two_services_ever_share_a_path_and_every_announcement_is_served_or_refused(
    tmp_path_factory: pytest.TempPathFactory, crowds: list[list[list[pb.Surface]]]
) -> None:
    gate = Gate(tmp_path_factory.mktemp("gate") / "surfaces.json")
    number = 0
    for crowd in crowds:
        instances = []
        for announced in crowd:
            number += 1
            instances.append(joined(number, *announced, services=["s", "t", "u"]))
        gate.update(*instances)
        served = [(each.service, template(path)) for each in gate.surfaces.all for path in each.paths]
        for service, mine in served:
            assert not [1 for other, theirs in served if other != service and mine.shares(theirs)]
        known = {(each.service, each.name) for each in gate.surfaces.all}
        for instance in instances:
            refused = {(each.service, each.name) for each in gate.surfaces.refused.get(instance.instance_id, ())}
            for each in instance.surfaces:
                key = each.service, each.name
                live = instance.instance_id in gate.surfaces.instances(each.service) and key in known
                assert live or key in refused
