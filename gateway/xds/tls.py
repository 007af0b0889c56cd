"""TLS on both sides of Envoy: the public port, and the processes of the mesh behind it."""

from collections.abc import Sequence
from pathlib import PurePath

from envoy_data_plane.envoy.config.core.v3 import (
    ApiVersion,
    ConfigSource,
    PathConfigSource,
    TransportSocket,
    WatchedDirectory,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any

from gateway.xds.snapshot import Tls

IDENTITY, AUTHORITIES, FRONT = "mesh-identity", "mesh-authorities", "front"
_SOCKET = "envoy.transport_sockets.tls"


def upstream(tls: Tls, hosts: Sequence[str], *, http2: bool) -> TransportSocket | None:
    """The socket to a process whose certificate names one of `hosts`; None for plain text."""
    if not tls.identity:
        return None
    named = [
        SubjectAltNameMatcher(san_type=SubjectAltNameMatcherSanType.DNS, matcher=StringMatcher(exact=host))
        for host in hosts
    ]
    context = UpstreamTlsContext(
        sni=hosts[0],
        common_tls_context=CommonTlsContext(
            tls_certificate_sds_secret_configs=[_secret(IDENTITY, tls.identity)],
            combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=CertificateValidationContext(match_typed_subject_alt_names=named),
                validation_context_sds_secret_config=_secret(AUTHORITIES, tls.authorities),
            ),
            alpn_protocols=["h2"] if http2 else ["http/1.1"],
        ),
    )
    return TransportSocket(name=_SOCKET, typed_config=Any.pack(context))


def downstream(tls: Tls) -> TransportSocket | None:
    """The socket for clients of the public port; None for plain text."""
    if not tls.front:
        return None
    context = DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_certificate_sds_secret_configs=[_secret(FRONT, tls.front)],
            alpn_protocols=["h2", "http/1.1"],
        )
    )
    return TransportSocket(name=_SOCKET, typed_config=Any.pack(context))


def _secret(name: str, path: str) -> SdsSecretConfig:
    source = PathConfigSource(path=path, watched_directory=WatchedDirectory(path=str(PurePath(path).parent)))
    return SdsSecretConfig(
        name=name, sds_config=ConfigSource(path_config_source=source, resource_api_version=ApiVersion.V3)
    )
