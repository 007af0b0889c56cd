"""Metadata of a route that names the service of its calls; the local replies use it."""

from envoy_data_plane.envoy.config.core.v3 import Metadata
from envoy_data_plane.google.protobuf import Struct

from gateway.xds.failures import FAILURES, UNKNOWN_SERVICE

METADATA = "soma"
"""The namespace of the metadata."""
OWNER = "owner"


def owned_by(owner: str) -> Metadata:
    """The owner's name, and the encoded gRPC details of each failure with this name."""
    details = {failure.reason: failure.details_bin(owner) for failure in (*FAILURES, UNKNOWN_SERVICE) if failure.owned}
    return Metadata(filter_metadata={METADATA: Struct.from_dict({OWNER: owner, **details})})
