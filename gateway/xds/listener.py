"""The gateway's listener: native gRPC, grpc-web, REST by transcoding and plain HTTP on one port."""

from collections.abc import Iterable
from datetime import timedelta
from importlib.resources import files

from betterproto2 import Message
from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutation as Mutation,
)
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutationRemoveOnMatch,
)
from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    DataSource,
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    SubstitutionFormatString,
    TcpKeepalive,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.extensions.access_loggers.file.v3 import FileAccessLog
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer
from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import Cors
from envoy_data_plane.envoy.extensions.filters.http.grpc_json_transcoder.v3 import (
    GrpcJsonTranscoder,
    GrpcJsonTranscoderPrintOptions,
    GrpcJsonTranscoderRequestValidationOptions,
    GrpcJsonTranscoderUrlUnescapeSpec,
)
from envoy_data_plane.envoy.extensions.filters.http.grpc_web.v3 import GrpcWeb
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpFilter,
    Rds,
    RequestIdExtension,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import HeaderMutation
from envoy_data_plane.envoy.extensions.request_id.uuid.v3 import UuidRequestIdConfig
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway.xds.bindings import Binding, bindings
from gateway.xds.clusters import FROM_ADS, address
from gateway.xds.compression import COMPRESSOR, compressor
from gateway.xds.cors import CORS
from gateway.xds.fields import Fields
from gateway.xds.filters import (
    BODY_ADMISSION,
    BODY_CHECK,
    BODY_DRAIN,
    BODY_LIMIT,
    BUSY,
    ERROR_WRAPPER,
    GRPC_WEB,
    QUERY_TOKEN,
    REFUSE,
    TRANSCODER,
)
from gateway.xds.methods import StreamingMethods
from gateway.xds.replies import local_replies
from gateway.xds.routes import NAME
from gateway.xds.snapshot import LARGE_BYTES, Endpoint, Snapshot
from gateway.xds.tls import downstream
from services.mesh.surfaces.surface import MOST_BODY_BYTES

# Only the mesh and Envoy may set headers with these prefixes; those of clients are dropped.
_RESERVED_HEADER_PREFIXES = ("x-soma-", "x-envoy-")
_STREAM_WINDOW_BYTES = 1024 * 1024
_CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
# Limit of all headers of a request together. It is above the limit of a gRPC server (32 KiB): that server refuses with
# a message, while Envoy can only reset an HTTP/2 stream.
_MAX_HEADER_KIB = 96
_MAX_HEADERS = 200
# The host of HTTP/1.0 requests, which need not name one.
_DEFAULT_HOST = "localhost"
# A body over the limit is read and dropped, up to this many times the limit.
_DRAIN_FACTOR = 4
# A client that answers none of the probes is disconnected: seconds until the first, seconds between two, and number.
_KEEPALIVE = TcpKeepalive(keepalive_time=60, keepalive_interval=10, keepalive_probes=3)
_ACCESS_LOG_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "method": "%REQ(:METHOD)%",
    # Without the query, which may have secrets.
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    # The status as it was sent: Envoy's GRPC_STATUS guesses one from the HTTP status of a transcoded error.
    "grpc_status": "%RESP(GRPC-STATUS)%%TRAILER(GRPC-STATUS)%",
    "flags": "%RESPONSE_FLAGS%",
    "duration_ms": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "upstream": "%UPSTREAM_HOST%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "traceparent": "%REQ(TRACEPARENT)%",
}


def listener(snapshot: Snapshot, streaming: StreamingMethods) -> Listener:
    """The listener on `snapshot.listen`. Its routes come over ADS, so that a change of routes does not replace it."""
    manager = Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(_manager(snapshot, streaming))
    )
    headers = timedelta(seconds=snapshot.limits.headers_timeout_seconds)
    chain = FilterChain(
        name=NAME,
        filters=[manager],
        transport_socket=downstream(snapshot.tls),
        transport_socket_connect_timeout=headers,
    )
    return Listener(
        name=NAME,
        address=_listening(snapshot.listen),
        filter_chains=[chain],
        # Ends connections whose client does not read its answers.
        per_connection_buffer_high_watermark_timeout=timedelta(seconds=snapshot.limits.idle_timeout_seconds),
        tcp_keepalive=_KEEPALIVE,
        # If it were on, a second Envoy on the same port would silently take half of the connections.
        enable_reuse_port=False,
    )


def _listening(endpoint: Endpoint) -> Address:
    where = address(endpoint)
    if where.socket_address is not None:
        # `::` means every address of the machine, IPv4 included.
        where.socket_address.ipv4_compat = endpoint.host == "::"
    return where


def _manager(snapshot: Snapshot, streaming: StreamingMethods) -> HttpConnectionManager:
    idle = timedelta(seconds=snapshot.limits.idle_timeout_seconds)
    bound = [binding for binding in bindings(snapshot.descriptor_set) if binding.service in snapshot.services]
    return HttpConnectionManager(
        stat_prefix=NAME,
        codec_type=HttpConnectionManagerCodecType.AUTO,
        rds=Rds(config_source=FROM_ADS, route_config_name=NAME),
        http_filters=[
            # The first, so that a page may also read the refusals of the filters after it.
            _filter(CORS, Cors()),
            HttpFilter(name=QUERY_TOKEN, typed_config=Any.pack(_lua(_source("query_token.lua"))), disabled=True),
            _filter(COMPRESSOR, compressor()),
            _filter(ERROR_WRAPPER, _lua(_source("wrap_errors.lua"))),
            HttpFilter(name=BODY_ADMISSION, typed_config=Any.pack(_body_admission(snapshot)), disabled=True),
            HttpFilter(name=BODY_DRAIN, typed_config=Any.pack(_body_drain()), disabled=True),
            HttpFilter(
                name=BODY_LIMIT,
                typed_config=Any.pack(Buffer(max_request_bytes=snapshot.limits.max_request_bytes)),
                disabled=True,
            ),
            HttpFilter(name=BUSY, typed_config=Any.pack(_lua(_source("refuse_busy.lua"))), disabled=True),
            HttpFilter(name=BODY_CHECK, typed_config=Any.pack(_body_check(snapshot, bound)), disabled=True),
            _filter(GRPC_WEB, GrpcWeb()),
            _filter(TRANSCODER, _transcoder(snapshot, streaming)),
            _filter("envoy.filters.http.router", Router(suppress_envoy_headers=True)),
        ],
        early_header_mutation_extensions=[_drop_reserved_headers()],
        local_reply_config=local_replies(snapshot.surfaces, [binding.template for binding in bound]),
        server_name="somamesh",
        # nginx and HAProxy speak HTTP/1.0 to their backends unless they are configured otherwise.
        http_protocol_options=Http1ProtocolOptions(accept_http_10=True, default_host_for_http_10=_DEFAULT_HOST),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=1024,
            initial_stream_window_size=_STREAM_WINDOW_BYTES,
            initial_connection_window_size=_CONNECTION_WINDOW_BYTES,
        ),
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=idle, max_headers_count=_MAX_HEADERS),
        max_request_headers_kb=_MAX_HEADER_KIB,
        stream_idle_timeout=idle,
        request_headers_timeout=timedelta(seconds=snapshot.limits.headers_timeout_seconds),
        request_timeout=timedelta(seconds=snapshot.limits.request_timeout_seconds),
        normalize_path=True,
        use_remote_address=True,
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        # Otherwise Envoy changes a digit of an id that the client sent.
        request_id_extension=RequestIdExtension(typed_config=Any.pack(UuidRequestIdConfig(pack_trace_reason=False))),
        access_log=_access_log(snapshot.access_log),
    )


def _transcoder(snapshot: Snapshot, streaming: StreamingMethods) -> GrpcJsonTranscoder:
    return GrpcJsonTranscoder(
        proto_descriptor_bin=snapshot.descriptor_set,
        services=sorted(streaming.keys() & snapshot.services.keys()),
        print_options=GrpcJsonTranscoderPrintOptions(
            preserve_proto_field_names=True,
            always_print_primitive_fields=True,
            stream_sse_style_delimited=True,
        ),
        request_validation_options=GrpcJsonTranscoderRequestValidationOptions(
            reject_unknown_query_parameters=True, reject_binding_body_field_collisions=True
        ),
        convert_grpc_status=True,
        url_unescape_spec=GrpcJsonTranscoderUrlUnescapeSpec.ALL_CHARACTERS,
        query_param_unescape_plus=True,
        max_request_body_size=snapshot.limits.max_message_bytes,
        max_response_body_size=snapshot.limits.max_response_bytes,
    )


def _drop_reserved_headers() -> TypedExtensionConfig:
    """Drop reserved headers early, before any route or filter can see them."""
    removals = [
        Mutation(remove_on_match=HeaderMutationRemoveOnMatch(key_matcher=StringMatcher(prefix=prefix)))
        for prefix in _RESERVED_HEADER_PREFIXES
    ]
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=Any.pack(HeaderMutation(mutations=removals)),
    )


def _access_log(path: str) -> list[AccessLog]:
    if not path:
        return []
    fields = SubstitutionFormatString(json_format=Struct.from_dict(_ACCESS_LOG_FIELDS), omit_empty_values=True)
    return [
        AccessLog(name="envoy.access_loggers.file", typed_config=Any.pack(FileAccessLog(path=path, log_format=fields)))
    ]


def _filter(name: str, config: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=Any.pack(config))


def _body_drain() -> Lua:
    return _lua(f"local FACTOR = {_DRAIN_FACTOR}\n{_source('drain_body.lua')}")


def _body_admission(snapshot: Snapshot) -> Lua:
    limits = snapshot.limits
    sizes = f"{LARGE_BYTES}, {limits.large_bytes}, {limits.max_message_bytes}, {MOST_BODY_BYTES}"
    return _lua(f"local LARGE, BUDGET, UNKNOWN, MOST = {sizes}\n{_source('admit_body.lua')}")


def _body_check(snapshot: Snapshot, bound: Iterable[Binding]) -> Lua:
    fields = Fields(snapshot.descriptor_set)
    messages = fields.lua(fields.body(binding) for binding in bound)
    lua = _lua(f"local MESSAGES = {messages}\n{_source('check_body.lua')}")
    lua.source_codes[REFUSE] = DataSource(inline_string=_source("refuse.lua"))
    return lua


def _lua(source: str) -> Lua:
    return Lua(default_source_code=DataSource(inline_string=source))


def _source(name: str) -> str:
    return files("gateway.xds").joinpath(name).read_text()
