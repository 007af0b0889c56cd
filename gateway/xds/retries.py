"""When Envoy repeats a request on another instance."""

from envoy_data_plane.envoy.config.route.v3 import RetryPolicy, RetryPolicyRetryHostPredicate
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.google.protobuf import Any

_OTHER_INSTANCES = RetryPolicyRetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=Any.pack(PreviousHostsPredicate())
)


def unless_begun() -> RetryPolicy:
    """Repeat a request that no instance has begun: the connection failed, or the stream was refused."""
    return RetryPolicy(
        retry_on="connect-failure,refused-stream",
        num_retries=2,
        retry_host_predicate=[_OTHER_INSTANCES],
        # The balancer prefers the instance with the fewest requests. A dead one has none, so it is picked often.
        host_selection_retry_max_attempts=50,
    )
