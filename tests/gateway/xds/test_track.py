"""Which version is served after refusals, in any order."""

from envoy_data_plane.envoy.service.discovery.v3 import Resource
from hypothesis import given
from hypothesis import strategies as st

from gateway.xds.resources import Group
from gateway.xds.track import Track

V1, V2, V3 = (Group({"t": {"a": Resource(name="a", version=version)}}) for version in "123")


def test_a_refused_version_falls_back_to_the_last_accepted_one() -> None:
    track = Track()
    track.offer(V1)
    track.accept(V1)
    track.offer(V2)
    assert track.current is V2
    track.refuse(V2)
    assert track.current is V1
    assert track.fallen_back


def test_a_refused_version_stays_refused_when_offered_again_and_a_newer_one_is_tried() -> None:
    track = Track()
    track.offer(V1)
    track.accept(V1)
    track.offer(V2)
    track.refuse(V2)
    track.offer(V2)
    assert track.current is V1
    track.offer(V3)
    assert track.current is V3


def test_with_nothing_accepted_yet_the_newest_is_tried_even_when_refused() -> None:
    track = Track()
    track.offer(V1)
    track.refuse(V1)
    assert track.current is V1
    assert not track.fallen_back


def test_a_version_that_another_envoy_accepted_is_kept_when_one_refuses_it() -> None:
    track = Track()
    track.offer(V1)
    track.accept(V1)
    track.refuse(V1)
    assert track.current is V1


@given(st.lists(st.tuples(st.sampled_from(["offer", "accept", "refuse"]), st.sampled_from([V1, V2, V3]))))
def test_once_a_version_was_accepted_a_refused_one_is_never_served(steps: list[tuple[str, Group]]) -> None:
    track = Track()
    accepted, refused = set(), set()
    for step, version in steps:
        if step != "offer" and track.current is not version:
            continue  # An Envoy accepts or refuses only versions that it was sent.
        getattr(track, step)(version)
        if step == "accept":
            accepted.add(version.version)
        elif step == "refuse":
            refused.add(version.version)
        if accepted and track.current is not None:
            assert track.current.version in accepted or track.current.version not in refused
