"""Rules of delta xDS for one type on one stream."""

from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, Resource

from gateway.xds.resources import Group
from gateway.xds.subscription import Subscription

A1, A2, B1 = (Resource(name=name, version=version) for name, version in (("a", "1"), ("a", "2"), ("b", "1")))


def group(*held: Resource) -> Group:
    return Group({"t": {each.name: each for each in held}})


def wanted(*held: Resource) -> dict[str, Resource]:
    return {each.name: each for each in held}


def send(subscription: Subscription, nonce: str, *held: Resource) -> None:
    subscription.sending(nonce, group(*held), subscription.changed(wanted(*held)), [])


def test_a_request_without_names_subscribes_to_everything_and_one_with_names_only_to_those() -> None:
    everything = Subscription.open(DeltaDiscoveryRequest())
    named = Subscription.open(DeltaDiscoveryRequest(resource_names_subscribe=["b"]))
    assert everything.changed(wanted(A1, B1)) == [A1, B1]
    assert named.changed(wanted(A1, B1)) == [B1]


def test_a_resource_is_not_sent_again_until_it_changes() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest())
    send(subscription, "n1", A1, B1)
    assert subscription.changed(wanted(A1, B1)) == []
    assert subscription.changed(wanted(A2, B1)) == [A2]


def test_a_client_that_reconnects_is_sent_only_what_it_does_not_have() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest(initial_resource_versions={"a": "1", "gone": "1"}))
    assert subscription.changed(wanted(A1, B1)) == [B1]
    assert subscription.removed(wanted(A1, B1)) == ["gone"]


def test_a_resource_that_is_requested_again_is_sent_again() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest(resource_names_subscribe=["a"]))
    send(subscription, "n1", A1)
    assert subscription.change(DeltaDiscoveryRequest(resource_names_subscribe=["a"]))
    assert subscription.changed(wanted(A1)) == [A1]


def test_a_resource_that_does_not_exist_is_reported_once_and_sent_when_it_appears() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest(resource_names_subscribe=["a"]))
    assert subscription.removed({}) == ["a"]
    subscription.sending("n1", group(), [], ["a"])
    assert subscription.removed({}) == []
    assert subscription.changed(wanted(A1)) == [A1]


def test_a_client_is_taken_to_use_only_versions_that_it_acknowledged() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest())
    send(subscription, "n1", A1)
    assert not subscription.runs(wanted(A1))
    assert subscription.answered("n1", refused=False) is not None
    assert subscription.runs(wanted(A1))


def test_a_refused_resource_is_not_pushed_again_by_itself_but_is_on_retry() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest())
    send(subscription, "n1", A1, B1)
    sent = subscription.answered("n1", refused=True)
    assert sent is not None
    assert sent.names == ("a", "b")
    assert subscription.changed(wanted(A1, B1)) == []
    assert not subscription.runs(wanted(A1, B1))
    subscription.retry_refused()
    assert subscription.changed(wanted(A1, B1)) == [A1, B1]


def test_an_answer_to_another_streams_nonce_is_ignored() -> None:
    subscription = Subscription.open(DeltaDiscoveryRequest())
    send(subscription, "n1", A1)
    assert subscription.answered("n9", refused=True) is None
    assert not subscription.refused
