"""Compression of answers to HTTP clients that accept gzip: text and JSON of at least one kilobyte."""

from envoy_data_plane.envoy.config.core.v3 import TypedExtensionConfig
from envoy_data_plane.envoy.extensions.compression.gzip.compressor.v3 import Gzip, GzipCompressionLevel
from envoy_data_plane.envoy.extensions.filters.http.compressor.v3 import (
    Compressor,
    CompressorCommonDirectionConfig,
    CompressorResponseDirectionConfig,
)
from envoy_data_plane.google.protobuf import Any

COMPRESSOR = "envoy.filters.http.compressor"

# For smaller answers, compression costs both sides more than it saves on the network.
_MIN_BYTES = 1024

_TYPES = ("application/json", "text/javascript", "text/css", "text/html", "text/plain")


def compressor() -> Compressor:
    """The filter, for JSON and text; with its default types Envoy would compress grpc-web too.

    Event streams are not compressed, because an event would wait in the compressor for the next ones. gRPC is not
    either, because it compresses its messages itself.
    """
    return Compressor(
        compressor_library=TypedExtensionConfig(
            name="gzip", typed_config=Any.pack(Gzip(compression_level=GzipCompressionLevel.BEST_SPEED))
        ),
        response_direction_config=CompressorResponseDirectionConfig(
            common_config=CompressorCommonDirectionConfig(min_content_length=_MIN_BYTES, content_type=list(_TYPES))
        ),
    )
