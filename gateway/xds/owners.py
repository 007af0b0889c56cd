"""What a route says of itself to the local replies: whose calls it takes."""

from envoy_data_plane.envoy.config.core.v3 import Metadata
from envoy_data_plane.google.protobuf import Struct

from gateway.xds.failures import FAILURES, UNKNOWN_SERVICE

METADATA = "soma"
"""The namespace."""
OWNER = "owner"


def owned_by(owner: str) -> Metadata:
    """The owner's name, and the gRPC details of each failure of it, ready-made."""
    details = {failure.reason: failure.details_bin(owner) for failure in (*FAILURES, UNKNOWN_SERVICE) if failure.owned}
    return Metadata(filter_metadata={METADATA: Struct.from_dict({OWNER: owner, **details})})
