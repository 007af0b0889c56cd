"""Compression of what HTTP clients are answered with: text and JSON from a kilobyte on, for those who accept gzip."""

from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig
from envoy_data_plane.envoy.extensions.compression.gzip.compressor.v3 import Gzip, GzipCompressionLevel
from envoy_data_plane.envoy.extensions.filters.http.compressor.v3 import (
    Compressor,
    CompressorCommonDirectionConfig,
    CompressorResponseDirectionConfig,
)
from envoy_data_plane.google.protobuf import Any

COMPRESSOR = "envoy.filters.http.compressor"

# Less costs both ends more than it saves the network.
_LEAST_BYTES = 1024

_TYPES = ("application/json", "text/javascript", "text/css", "text/html", "text/plain")


def compressor() -> Compressor:
    """The filter, for JSON and text. Envoy by itself would take grpc-web too.

    Event streams are none of them: an event would wait in the compressor for the next ones. Nor is gRPC, which
    compresses messages of its own.
    """
    return Compressor(
        compressor_library=TypedExtensionConfig(
            name="gzip", typed_config=Any.pack(Gzip(compression_level=GzipCompressionLevel.BEST_SPEED))
        ),
        response_direction_config=CompressorResponseDirectionConfig(
            common_config=CompressorCommonDirectionConfig(min_content_length=_LEAST_BYTES, content_type=list(_TYPES))
        ),
    )
