"""Reasons of errors that the contracts declare (proto/soma/*/v1/errors.proto); written by `make gen`.

Plain Python: modules that use neither gRPC nor protobuf may import it.
"""

from typing import Final, NamedTuple


class Declared(NamedTuple):
    """The facts of one reason."""

    status: str
    """Canonical status, by name."""
    http: int
    """HTTP status over REST."""
    retry: str
    """Whether the same call may succeed later: `NO`, `LATER`, `AFTER_CHANGE`."""


# The HTTP status of each canonical status, for a reason that is not declared here.
HTTP_STATUSES: Final[dict[str, int]] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

# soma.identity.v1
LOGIN_REFUSED: Final = "LOGIN_REFUSED"
"""The username or the password is wrong, or the user may not log in. The answer does not say which."""
REFRESH_TOKEN_INVALID: Final = "REFRESH_TOKEN_INVALID"
"""The refresh token is unknown or has expired; log in again."""
REFRESH_TOKEN_REUSED: Final = "REFRESH_TOKEN_REUSED"
"""The refresh token was used before, so somebody else may have it. Its session has ended; log in again."""
CREDENTIAL_REVOKED: Final = "CREDENTIAL_REVOKED"
"""The credential was revoked, or its session has ended."""
CREDENTIAL_EXPIRED: Final = "CREDENTIAL_EXPIRED"
"""The API key has expired; rotate it, or make another one."""
TENANT_SUSPENDED: Final = "TENANT_SUSPENDED"
"""The tenant is suspended."""
PASSWORD_CHANGE_REQUIRED: Final = "PASSWORD_CHANGE_REQUIRED"
"""The password was set by somebody else; it must be changed first."""
PASSWORD_TOO_WEAK: Final = "PASSWORD_TOO_WEAK"
"""The password is too short, is one of the most common ones, or is the same as before."""
SCOPE_NOT_HELD: Final = "SCOPE_NOT_HELD"
"""Nobody can grant a scope that they do not have; the details name it."""
OPERATOR_ONLY: Final = "OPERATOR_ONLY"
"""Only the tenant that operates the mesh may do this."""
LAST_ADMIN: Final = "LAST_ADMIN"
"""The tenant would be left without a user who can administer it."""
ROLE_BUILT_IN: Final = "ROLE_BUILT_IN"
"""The role is one of those that every tenant has; it cannot be changed."""
ROLE_UNKNOWN: Final = "ROLE_UNKNOWN"
"""There is no such role; the details name it."""
TIER_UNKNOWN: Final = "TIER_UNKNOWN"
"""There is no such tier of rate limits in the settings; the message lists those that there are."""
SERVICE_ACCOUNT_REVOKED: Final = "SERVICE_ACCOUNT_REVOKED"
"""The service account is revoked."""
RATE_LIMITED: Final = "RATE_LIMITED"
"""The credential, or its tenant, has made too many requests; RetryInfo says when the next one may succeed."""
TOO_MANY_ATTEMPTS: Final = "TOO_MANY_ATTEMPTS"
"""Too many attempts to authenticate failed; RetryInfo says when the next one is answered."""
IDENTITY_UNAVAILABLE: Final = "IDENTITY_UNAVAILABLE"
"""The credential cannot be checked now, because identity cannot be reached."""
USER_NEEDED: Final = "USER_NEEDED"
"""The operation is not for this kind of caller, such as to change a password with an API key."""
INTERNAL_KEY_CHANGED: Final = "INTERNAL_KEY_CHANGED"
"""The internal key of the stack is not the one that this database was made with."""
ISSUER_UNAVAILABLE: Final = "ISSUER_UNAVAILABLE"
"""The keys of the outside issuer that made the token cannot be fetched; RetryInfo says when to try again."""
USER_NOT_ADMITTED: Final = "USER_NOT_ADMITTED"
"""The token of the outside issuer is valid, but its user may not come in: it has no user or no tenant here."""
DELEGATION_ENDED: Final = "DELEGATION_ENDED"
"""Who asked for the work has lost a scope that it needs, so the work ends; the details name the scope."""
ISSUER_UNKNOWN: Final = "ISSUER_UNKNOWN"
"""There is no outside issuer of this name in the settings; the message lists those that there are."""

# soma.memory.v1
CONVERSATION_NOT_FOUND: Final = "CONVERSATION_NOT_FOUND"
"""There is no such conversation."""
MEMORY_NOT_FOUND: Final = "MEMORY_NOT_FOUND"
"""Nothing is remembered under this key."""
VALUE_TOO_LARGE: Final = "VALUE_TOO_LARGE"
"""The value to remember is larger than allowed."""
EMBEDDING_DIMENSIONS: Final = "EMBEDDING_DIMENSIONS"
"""The embedding model makes vectors of another size than memory stores."""

# soma.mesh.v1
INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"
"""The request breaks a rule of its contract; the details name each field at fault."""
NOT_FOUND: Final = "NOT_FOUND"
"""The requested thing does not exist, or it belongs to another tenant."""
ALREADY_EXISTS: Final = "ALREADY_EXISTS"
"""Something with this name already exists."""
FAILED_PRECONDITION: Final = "FAILED_PRECONDITION"
"""The system is not in the state that the call needs; the message names that state."""
UNIMPLEMENTED: Final = "UNIMPLEMENTED"
"""The method or feature does not exist here."""
INTERNAL: Final = "INTERNAL"
"""The server failed; its log has the details under the call's trace id."""
UNAVAILABLE: Final = "UNAVAILABLE"
"""The gateway cannot serve the request now."""
DEADLINE_EXCEEDED: Final = "DEADLINE_EXCEEDED"
"""The call's deadline passed before the answer was ready."""
CANCELLED: Final = "CANCELLED"
"""The call, or the work it waited for, was cancelled."""
CONFLICT: Final = "CONFLICT"
"""Another call changed the same thing first; read it again before you retry."""
ETAG_MISMATCH: Final = "ETAG_MISMATCH"
"""The etag belongs to an older state; read again, and send the new etag."""
LIMIT_REACHED: Final = "LIMIT_REACHED"
"""A limit, quota or queue is full."""
DEPENDENCY_UNAVAILABLE: Final = "DEPENDENCY_UNAVAILABLE"
"""Something the call needs cannot be reached now."""
TIMEOUT: Final = "TIMEOUT"
"""A step of the call took longer than allowed."""
STEP_CANCELLED: Final = "STEP_CANCELLED"
"""A step of the call was cancelled although the call itself was not."""
DRAINING: Final = "DRAINING"
"""The process that received the call is stopping; another process serves the retry."""
STOPPING: Final = "STOPPING"
"""The process stopped before the change was stored."""
STREAM_CUT: Final = "STREAM_CUT"
"""A stream ended without its final event, so the answer is incomplete."""
MALFORMED_MESSAGE: Final = "MALFORMED_MESSAGE"
"""The bytes of the request are not a message of the contract."""
FIELD_MASK_INVALID: Final = "FIELD_MASK_INVALID"
"""`update_mask` names a field that does not exist or cannot change."""
PAGE_TOKEN_INVALID: Final = "PAGE_TOKEN_INVALID"
"""`page_token` was not given for this list and these filters."""
TEXT_NOT_STORABLE: Final = "TEXT_NOT_STORABLE"
"""A text contains a NUL character, which cannot be stored."""
UNKNOWN_METHOD: Final = "UNKNOWN_METHOD"
"""The service has no such method."""
PAYLOAD_TOO_LARGE: Final = "PAYLOAD_TOO_LARGE"
"""The message is larger than allowed."""
HEADERS_TOO_LARGE: Final = "HEADERS_TOO_LARGE"
"""The headers are larger than allowed."""
METADATA_MALFORMED: Final = "METADATA_MALFORMED"
"""The value of a `-bin` header is not base64."""
ENCODING_MISSING: Final = "ENCODING_MISSING"
"""The message is compressed, but its encoding is not named."""
ENCODING_UNKNOWN: Final = "ENCODING_UNKNOWN"
"""The message is compressed with an encoding that is not supported here."""
CREDENTIAL_MISSING: Final = "CREDENTIAL_MISSING"
"""The call carries no credential."""
CREDENTIAL_INVALID: Final = "CREDENTIAL_INVALID"
"""The credential is not valid, or is not written `Bearer <key>`."""
TOKEN_EXPIRED: Final = "TOKEN_EXPIRED"
"""The principal's token, which processes of the mesh send each other, has expired."""
TOKEN_INVALID: Final = "TOKEN_INVALID"
"""The principal's token is malformed, or its signature is wrong."""
SCOPE_MISSING: Final = "SCOPE_MISSING"
"""The principal does not have the scope that the method needs."""
METHOD_INTERNAL: Final = "METHOD_INTERNAL"
"""Only processes of the mesh may call the method."""
PEER_NOT_ALLOWED: Final = "PEER_NOT_ALLOWED"
"""The certificate of the calling process names a process that may not call this one."""
REGISTRY_LOST: Final = "REGISTRY_LOST"
"""The control process has ended the lease of this process. The process joins again by itself."""
INSTANCE_LOST: Final = "INSTANCE_LOST"
"""The connection to the instance that received the call was lost, or could not be made."""
SERVICE_UNAVAILABLE: Final = "SERVICE_UNAVAILABLE"
"""No instance of a service that the call needs is alive."""
INSTANCE_MISSING: Final = "INSTANCE_MISSING"
"""The first message to the registry did not carry the instance."""
LEASE_EXPIRED: Final = "LEASE_EXPIRED"
"""An instance sent nothing for longer than its lease lasts, and must join again."""
STORAGE_FULL: Final = "STORAGE_FULL"
"""The disk of Postgres, of Redis, or of pictures and documents is full, and nothing was stored; somebody must free space."""
POSTGRES_UNAVAILABLE: Final = "POSTGRES_UNAVAILABLE"
"""Postgres cannot be reached; it is not known whether a write was done."""
POSTGRES_READ_ONLY: Final = "POSTGRES_READ_ONLY"
"""Postgres accepts no writes now, for example because it is a standby."""
POSTGRES_IO_ERROR: Final = "POSTGRES_IO_ERROR"
"""Postgres cannot read or write its files; its log says which."""
POSTGRES_OUT_OF_RESOURCES: Final = "POSTGRES_OUT_OF_RESOURCES"
"""Postgres has no memory left, or reached one of its own limits."""
POSTGRES_REFUSED: Final = "POSTGRES_REFUSED"
"""Postgres does not accept the user, database or options of `postgres_url`."""
REDIS_UNAVAILABLE: Final = "REDIS_UNAVAILABLE"
"""Redis cannot be reached, or is not ready yet; it is not known whether a write was done."""
REDIS_READ_ONLY: Final = "REDIS_READ_ONLY"
"""Redis accepts no writes now, for example because it is a replica."""
REDIS_IO_ERROR: Final = "REDIS_IO_ERROR"
"""Redis cannot write its files and accepts no writes; its log says why."""
REDIS_OUT_OF_MEMORY: Final = "REDIS_OUT_OF_MEMORY"
"""Redis has used all the memory it is allowed and accepts no writes."""
REDIS_URL_INVALID: Final = "REDIS_URL_INVALID"
"""`redis_url` has an option that the Redis client does not know."""
DATABASE_NEWER: Final = "DATABASE_NEWER"
"""The database was made by a newer version of the server."""
MIGRATION_MISNAMED: Final = "MIGRATION_MISNAMED"
"""The migration files of a service are not numbered from 0001 without gaps."""
SETTINGS_INVALID: Final = "SETTINGS_INVALID"
"""A setting has a value that is not allowed; the message names it."""
SETTINGS_MISSING: Final = "SETTINGS_MISSING"
"""A setting that the process needs is not given."""
SERVICE_UNKNOWN: Final = "SERVICE_UNKNOWN"
"""There is no service with the name that was given."""
HTTP_PORT_SHARED: Final = "HTTP_PORT_SHARED"
"""Two HTTP servers of one process were given the same port."""
HTTP_START_FAILED: Final = "HTTP_START_FAILED"
"""The HTTP server stopped while it was starting."""
ADDRESS_IN_USE: Final = "ADDRESS_IN_USE"
"""The address to listen on is in use, or does not belong to this machine."""
HOST_UNKNOWN: Final = "HOST_UNKNOWN"
"""The host to listen on is not an address of this machine."""
KEY_MISSING: Final = "KEY_MISSING"
"""A key file does not exist or is empty."""
KEY_MALFORMED: Final = "KEY_MALFORMED"
"""A key file does not contain a valid key."""
KEY_EXPOSED: Final = "KEY_EXPOSED"
"""A key file can be read by other users."""
KEY_TOO_WEAK: Final = "KEY_TOO_WEAK"
"""The internal key is shorter than 32 bytes."""
CERTIFICATE_MISSING: Final = "CERTIFICATE_MISSING"
"""The certificate of a process, or the CA certificate beside it, does not exist."""
CERTIFICATE_MALFORMED: Final = "CERTIFICATE_MALFORMED"
"""A certificate file does not contain a valid certificate."""
CERTIFICATE_EXPIRED: Final = "CERTIFICATE_EXPIRED"
"""The certificate of a process has expired."""
CERTIFICATE_EXPOSED: Final = "CERTIFICATE_EXPOSED"
"""A certificate file, which also contains the key, can be read by other users."""
CERTIFICATE_MISNAMED: Final = "CERTIFICATE_MISNAMED"
"""The certificate belongs to another process."""
CERTIFICATE_UNTRUSTED: Final = "CERTIFICATE_UNTRUSTED"
"""The CA beside the certificate did not issue it."""
CA_KEY_MISSING: Final = "CA_KEY_MISSING"
"""The key of the CA is not here; certificates are issued on the machine that has the key."""
CA_KEY_FOREIGN: Final = "CA_KEY_FOREIGN"
"""The key beside the CA certificate belongs to another CA."""
CA_NEXT_MISSING: Final = "CA_NEXT_MISSING"
"""There is no new CA to change to."""
CA_NEXT_WAITING: Final = "CA_NEXT_WAITING"
"""The new CA is trusted but does not issue certificates yet."""
CA_IN_USE: Final = "CA_IN_USE"
"""The CA to be retired has issued a certificate that is still in use."""
OVERLOADED: Final = "OVERLOADED"
"""The service is at its limit of concurrent calls."""
NO_LIVE_INSTANCE: Final = "NO_LIVE_INSTANCE"
"""The gateway knows no live instance of the service."""
GATEWAY_OVERLOADED: Final = "GATEWAY_OVERLOADED"
"""The gateway has no memory left for more requests."""
GATEWAY_ERROR: Final = "GATEWAY_ERROR"
"""The gateway failed."""
BAD_GATEWAY: Final = "BAD_GATEWAY"
"""A server behind the gateway did not answer in the expected protocol."""
REQUEST_TIMEOUT: Final = "REQUEST_TIMEOUT"
"""The request did not arrive completely in time."""
UNKNOWN_SERVICE: Final = "UNKNOWN_SERVICE"
"""There is no such service."""
NO_SUCH_PATH: Final = "NO_SUCH_PATH"
"""There is no such path."""
METHOD_NOT_ALLOWED: Final = "METHOD_NOT_ALLOWED"
"""The path does not accept this HTTP method; `Allow` names the methods it accepts."""
UNSUPPORTED_MEDIA_TYPE: Final = "UNSUPPORTED_MEDIA_TYPE"
"""The path does not accept this content type."""
UNSUPPORTED_ENCODING: Final = "UNSUPPORTED_ENCODING"
"""The body is compressed; only uncompressed bodies are read."""
BAD_REQUEST: Final = "BAD_REQUEST"
"""The request is not valid HTTP, or does not match the contract."""
FORBIDDEN: Final = "FORBIDDEN"
"""The gateway does not forward the request."""
TOO_MANY_REQUESTS: Final = "TOO_MANY_REQUESTS"
"""A limit of the gateway was reached."""
MALFORMED_JSON: Final = "MALFORMED_JSON"
"""The body is not valid JSON; the message says at which byte."""
UNKNOWN_FIELD: Final = "UNKNOWN_FIELD"
"""The body has a field that the contract does not have."""
DUPLICATE_FIELD: Final = "DUPLICATE_FIELD"
"""The body has the same field twice."""
NUMBER_OUT_OF_RANGE: Final = "NUMBER_OUT_OF_RANGE"
"""A number in the body is too large for a double."""
NUMBER_NOT_EXACT: Final = "NUMBER_NOT_EXACT"
"""A number in the body cannot be stored exactly; send it as text."""
TOO_DEEP: Final = "TOO_DEEP"
"""The body is nested too deeply."""
FILE_UNREADABLE: Final = "FILE_UNREADABLE"
"""A file that the gateway's pages need cannot be read."""
TLS_INCOMPLETE: Final = "TLS_INCOMPLETE"
"""Only one of `tls_cert` and `tls_key` is given, or TLS is off."""
TLS_UNREADABLE: Final = "TLS_UNREADABLE"
"""The gateway's certificate or key cannot be read."""
TLS_UNUSABLE: Final = "TLS_UNUSABLE"
"""The gateway's certificate and key do not belong together, or are not valid."""
UNKNOWN_URL: Final = "UNKNOWN_URL"
"""There is no such path under `/v1/`."""
METHOD_NOT_SUPPORTED: Final = "METHOD_NOT_SUPPORTED"
"""The path does not accept this HTTP method; `Allow` names the methods it accepts."""
UPGRADE_REQUIRED: Final = "UPGRADE_REQUIRED"
"""The path is a WebSocket, but the request was plain HTTP."""
WEBSOCKET_CONNECTION_LIMIT_REACHED: Final = "WEBSOCKET_CONNECTION_LIMIT_REACHED"
"""A WebSocket for responses has been open for as long as it may be."""
BODY_TOO_LARGE: Final = "BODY_TOO_LARGE"
"""The body is larger than allowed."""
INVALID_TYPE: Final = "INVALID_TYPE"
"""A parameter has the wrong JSON type."""
INVALID_VALUE: Final = "INVALID_VALUE"
"""A parameter has a value that is not allowed."""
MISSING_REQUIRED_PARAMETER: Final = "MISSING_REQUIRED_PARAMETER"
"""A required parameter is missing."""
UNKNOWN_PARAMETER: Final = "UNKNOWN_PARAMETER"
"""OpenAI's API has no such parameter."""
UNSUPPORTED_PARAMETER: Final = "UNSUPPORTED_PARAMETER"
"""OpenAI's API has the parameter, but it is not supported here."""
UNSUPPORTED_VALUE: Final = "UNSUPPORTED_VALUE"
"""OpenAI's API has the value, but it is not supported here."""
MUTUALLY_EXCLUSIVE_PARAMETERS: Final = "MUTUALLY_EXCLUSIVE_PARAMETERS"
"""Two parameters were given, but only one of them is allowed."""
EMPTY_ARRAY: Final = "EMPTY_ARRAY"
"""An array is empty, but must have an element."""
ARRAY_ABOVE_MAX_LENGTH: Final = "ARRAY_ABOVE_MAX_LENGTH"
"""An array has more elements than allowed."""
STRING_ABOVE_MAX_LENGTH: Final = "STRING_ABOVE_MAX_LENGTH"
"""A string is longer than allowed."""
OBJECT_ABOVE_MAX_PROPERTIES: Final = "OBJECT_ABOVE_MAX_PROPERTIES"
"""An object has more properties than allowed."""
INTEGER_BELOW_MIN_VALUE: Final = "INTEGER_BELOW_MIN_VALUE"
"""An integer is smaller than allowed."""
INTEGER_ABOVE_MAX_VALUE: Final = "INTEGER_ABOVE_MAX_VALUE"
"""An integer is larger than allowed."""
DECIMAL_BELOW_MIN_VALUE: Final = "DECIMAL_BELOW_MIN_VALUE"
"""A decimal is smaller than allowed."""
DECIMAL_ABOVE_MAX_VALUE: Final = "DECIMAL_ABOVE_MAX_VALUE"
"""A decimal is larger than allowed."""
REQUEST_MALFORMED: Final = "REQUEST_MALFORMED"
"""The JSON given to `soma call` does not match the method's request."""
METHOD_NOT_FOUND: Final = "METHOD_NOT_FOUND"
"""The server that `soma call` asks has no such method."""
DEAD_LETTER_NOT_FOUND: Final = "DEAD_LETTER_NOT_FOUND"
"""The tenant has no such dead letter."""
EVENT_UNREADABLE: Final = "EVENT_UNREADABLE"
"""An entry of a stream of events is no event; its consumers keep it as a dead letter."""
SURFACE_TAKEN: Final = "SURFACE_TAKEN"
"""Another service, a contract or the gateway itself has one of the surface's paths; the message says which."""
SURFACE_INVALID: Final = "SURFACE_INVALID"
"""A path, a space or the error shape of the surface is not as it has to be; the message says what is wrong."""
SURFACES_FULL: Final = "SURFACES_FULL"
"""The gateway has as many surfaces as it takes."""
ADDRESS_NOT_IP: Final = "ADDRESS_NOT_IP"
"""The instance announced an address that is not an IP address and a port; the gateway looks up no names."""
BLOBS_UNAVAILABLE: Final = "BLOBS_UNAVAILABLE"
"""The store of pictures, sounds and documents cannot be reached, or cannot work now."""
BLOBS_REFUSED: Final = "BLOBS_REFUSED"
"""The store of pictures, sounds and documents refuses its user, or does not exist; the message says what is wrong."""

# soma.model.v1
MODEL_NOT_FOUND: Final = "MODEL_NOT_FOUND"
"""There is no such model here, or its provider does not have it."""
MODEL_CAPABILITY_MISSING: Final = "MODEL_CAPABILITY_MISSING"
"""The model cannot do what the request asks for, such as hold a conversation."""
MODEL_UNAVAILABLE: Final = "MODEL_UNAVAILABLE"
"""No model that can chat is available; the list of models says why."""
PARAMETER_NOT_SUPPORTED: Final = "PARAMETER_NOT_SUPPORTED"
"""The provider does not support a field that is set; `drop_params` leaves such fields out."""
PROVIDER_REFUSED_REQUEST: Final = "PROVIDER_REFUSED_REQUEST"
"""The provider refused the request; the message quotes the provider."""
PROVIDER_CREDENTIAL_REFUSED: Final = "PROVIDER_CREDENTIAL_REFUSED"
"""The provider refused the configured key, or the account."""
PROVIDER_RATE_LIMITED: Final = "PROVIDER_RATE_LIMITED"
"""The provider limits the rate. RetryInfo says when to retry, if the provider says so."""
PROVIDER_UNAVAILABLE: Final = "PROVIDER_UNAVAILABLE"
"""The provider cannot be reached, or is overloaded."""
PROVIDER_TIMEOUT: Final = "PROVIDER_TIMEOUT"
"""The provider sent nothing for longer than the configured timeouts allow."""
PROVIDER_STREAM_CUT: Final = "PROVIDER_STREAM_CUT"
"""The provider ended its answer before it was complete."""
PROVIDER_PROTOCOL_ERROR: Final = "PROVIDER_PROTOCOL_ERROR"
"""The provider does not speak the expected protocol."""
PROVIDER_ENDLESS: Final = "PROVIDER_ENDLESS"
"""The provider sent more text than an answer may have, and the answer was stopped."""
CATALOGUE_INVALID: Final = "CATALOGUE_INVALID"
"""The catalogue file of models, or a vendor's file, is wrong; the message says where."""
EMBEDDER_COLD: Final = "EMBEDDER_COLD"
"""The embedding model is not loaded yet."""
EMBEDDING_QUEUE_FULL: Final = "EMBEDDING_QUEUE_FULL"
"""Too many texts wait to be embedded."""
EMBEDDING_BUILD_FAILED: Final = "EMBEDDING_BUILD_FAILED"
"""The embedding model could not be built from its weights."""
WEIGHTS_MISSING: Final = "WEIGHTS_MISSING"
"""There are no weights for the embedding model."""
MEDIA_INVALID: Final = "MEDIA_INVALID"
"""A picture, a sound or a document is not what it says it is, or cannot be read; the message says why."""
MEDIA_TOO_LARGE: Final = "MEDIA_TOO_LARGE"
"""A picture, a sound or a document is larger than the limit."""
MEDIA_UNREACHABLE: Final = "MEDIA_UNREACHABLE"
"""The address of a picture, a sound or a document cannot be read: it is in a private network, it leads elsewhere, or its server does not answer."""
MEDIA_NOT_FOUND: Final = "MEDIA_NOT_FOUND"
"""The mesh does not have a picture, a sound or a document with this hash."""
TOOL_NOT_ALLOWED: Final = "TOOL_NOT_ALLOWED"
"""The model called a tool that `tool_choice.allowed` does not name."""
MODEL_TOO_LARGE: Final = "MODEL_TOO_LARGE"
"""There is not enough free memory for a model of the part `llm`; the message says how much it needs."""
MODEL_FILE_INVALID: Final = "MODEL_FILE_INVALID"
"""A file of the part `llm` is no GGUF file, is damaged, or has an architecture that llama.cpp does not know."""
TRITON_SETTINGS_INVALID: Final = "TRITON_SETTINGS_INVALID"
"""The settings of NVIDIA Triton cannot be used; the message says why."""
MODEL_LOAD_FAILED: Final = "MODEL_LOAD_FAILED"
"""A server of models could not load a model; the message quotes the server."""

# soma.orchestrator.v1
POLICY_DENIED: Final = "POLICY_DENIED"
"""Policy does not allow the message; the message names the rule."""
APPROVAL_REQUIRED: Final = "APPROVAL_REQUIRED"
"""By policy, a person must approve this first."""
MESSAGE_TOO_LONG: Final = "MESSAGE_TOO_LONG"
"""A text of a message, or all texts together, are longer than policy can evaluate."""
INVALID_JSON_SCHEMA: Final = "INVALID_JSON_SCHEMA"
"""The schema of the response format is not valid."""
OUTPUT_INVALID: Final = "OUTPUT_INVALID"
"""The model's answer does not match the response format, and neither does the repaired answer."""
ITEM_NOT_FOUND: Final = "ITEM_NOT_FOUND"
"""The response to continue has no such item."""
PREVIOUS_RESPONSE_NOT_FOUND: Final = "PREVIOUS_RESPONSE_NOT_FOUND"
"""There is no response with the id `previous_response_id`."""
PREVIOUS_RESPONSE_IN_PROGRESS: Final = "PREVIOUS_RESPONSE_IN_PROGRESS"
"""The response to continue is still being made."""
RESPONSE_NOT_FOUND: Final = "RESPONSE_NOT_FOUND"
"""There is no such response."""
RESPONSE_NOT_IN_BACKGROUND: Final = "RESPONSE_NOT_IN_BACKGROUND"
"""Only a response that was made in the background can be streamed again."""
INTERRUPTED: Final = "INTERRUPTED"
"""The process that made the response stopped before the response was complete; ask for another."""
SESSION_NOT_FOUND: Final = "SESSION_NOT_FOUND"
"""There is no such session."""
SESSION_NOT_ACTIVE: Final = "SESSION_NOT_ACTIVE"
"""The session takes messages only while it is active."""
SESSION_DELETED: Final = "SESSION_DELETED"
"""The session that was created with this request id is being deleted."""
SESSION_TYPE_UNKNOWN: Final = "SESSION_TYPE_UNKNOWN"
"""There is no such `session_type`; the message names the existing ones."""
TEMPLATE_UNKNOWN: Final = "TEMPLATE_UNKNOWN"
"""There is no such template for the session type."""
PARAMETER_UNKNOWN: Final = "PARAMETER_UNKNOWN"
"""The template has no such parameter."""
CONFIG_NOT_SUPPORTED: Final = "CONFIG_NOT_SUPPORTED"
"""A part of `config` would have no effect here."""
STATUS_UNREACHABLE: Final = "STATUS_UNREACHABLE"
"""A session cannot change from its status to the requested one."""
REQUEST_IN_PROGRESS: Final = "REQUEST_IN_PROGRESS"
"""A call with the same request id is still being answered."""
TOOL_CALL_NOT_FOUND: Final = "TOOL_CALL_NOT_FOUND"
"""The result of a tool answers no call of the conversation; the message names the call's id."""
COMPACTION_INVALID: Final = "COMPACTION_INVALID"
"""The compaction cannot be read: it was changed, or CompactResponse did not make it for this tenant."""

# soma.policy.v1
TENANT_MISMATCH: Final = "TENANT_MISMATCH"
"""The principal belongs to another tenant."""
RULES_INVALID: Final = "RULES_INVALID"
"""The rule file is wrong; the message says where."""

# soma.testing.v1
NOTE_NOT_FOUND: Final = "NOTE_NOT_FOUND"
"""There is no note with this name."""

DECLARED: Final[dict[str, Declared]] = {
    LOGIN_REFUSED: Declared("UNAUTHENTICATED", 401, "NO"),
    REFRESH_TOKEN_INVALID: Declared("UNAUTHENTICATED", 401, "NO"),
    REFRESH_TOKEN_REUSED: Declared("UNAUTHENTICATED", 401, "NO"),
    CREDENTIAL_REVOKED: Declared("UNAUTHENTICATED", 401, "NO"),
    CREDENTIAL_EXPIRED: Declared("UNAUTHENTICATED", 401, "NO"),
    TENANT_SUSPENDED: Declared("PERMISSION_DENIED", 403, "AFTER_CHANGE"),
    PASSWORD_CHANGE_REQUIRED: Declared("PERMISSION_DENIED", 403, "AFTER_CHANGE"),
    PASSWORD_TOO_WEAK: Declared("INVALID_ARGUMENT", 400, "NO"),
    SCOPE_NOT_HELD: Declared("PERMISSION_DENIED", 403, "NO"),
    OPERATOR_ONLY: Declared("PERMISSION_DENIED", 403, "NO"),
    LAST_ADMIN: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    ROLE_BUILT_IN: Declared("FAILED_PRECONDITION", 400, "NO"),
    ROLE_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    TIER_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    SERVICE_ACCOUNT_REVOKED: Declared("FAILED_PRECONDITION", 400, "NO"),
    RATE_LIMITED: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    TOO_MANY_ATTEMPTS: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    IDENTITY_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    USER_NEEDED: Declared("PERMISSION_DENIED", 403, "NO"),
    INTERNAL_KEY_CHANGED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    ISSUER_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    USER_NOT_ADMITTED: Declared("PERMISSION_DENIED", 403, "AFTER_CHANGE"),
    DELEGATION_ENDED: Declared("PERMISSION_DENIED", 403, "NO"),
    ISSUER_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    CONVERSATION_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    MEMORY_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    VALUE_TOO_LARGE: Declared("INVALID_ARGUMENT", 400, "NO"),
    EMBEDDING_DIMENSIONS: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    INVALID_ARGUMENT: Declared("INVALID_ARGUMENT", 400, "NO"),
    NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    ALREADY_EXISTS: Declared("ALREADY_EXISTS", 409, "NO"),
    FAILED_PRECONDITION: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    UNIMPLEMENTED: Declared("UNIMPLEMENTED", 501, "NO"),
    INTERNAL: Declared("INTERNAL", 500, "LATER"),
    UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    DEADLINE_EXCEEDED: Declared("DEADLINE_EXCEEDED", 504, "LATER"),
    CANCELLED: Declared("CANCELLED", 499, "LATER"),
    CONFLICT: Declared("ABORTED", 409, "LATER"),
    ETAG_MISMATCH: Declared("ABORTED", 409, "NO"),
    LIMIT_REACHED: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    DEPENDENCY_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    TIMEOUT: Declared("DEADLINE_EXCEEDED", 504, "LATER"),
    STEP_CANCELLED: Declared("INTERNAL", 500, "LATER"),
    DRAINING: Declared("UNAVAILABLE", 503, "LATER"),
    STOPPING: Declared("UNAVAILABLE", 503, "LATER"),
    STREAM_CUT: Declared("UNAVAILABLE", 503, "LATER"),
    MALFORMED_MESSAGE: Declared("INVALID_ARGUMENT", 400, "NO"),
    FIELD_MASK_INVALID: Declared("INVALID_ARGUMENT", 400, "NO"),
    PAGE_TOKEN_INVALID: Declared("INVALID_ARGUMENT", 400, "NO"),
    TEXT_NOT_STORABLE: Declared("INVALID_ARGUMENT", 400, "NO"),
    UNKNOWN_METHOD: Declared("UNIMPLEMENTED", 501, "NO"),
    PAYLOAD_TOO_LARGE: Declared("RESOURCE_EXHAUSTED", 413, "NO"),
    HEADERS_TOO_LARGE: Declared("RESOURCE_EXHAUSTED", 431, "NO"),
    METADATA_MALFORMED: Declared("INVALID_ARGUMENT", 400, "NO"),
    ENCODING_MISSING: Declared("INTERNAL", 500, "NO"),
    ENCODING_UNKNOWN: Declared("UNIMPLEMENTED", 501, "NO"),
    CREDENTIAL_MISSING: Declared("UNAUTHENTICATED", 401, "NO"),
    CREDENTIAL_INVALID: Declared("UNAUTHENTICATED", 401, "NO"),
    TOKEN_EXPIRED: Declared("UNAUTHENTICATED", 401, "LATER"),
    TOKEN_INVALID: Declared("UNAUTHENTICATED", 401, "NO"),
    SCOPE_MISSING: Declared("PERMISSION_DENIED", 403, "NO"),
    METHOD_INTERNAL: Declared("PERMISSION_DENIED", 403, "NO"),
    PEER_NOT_ALLOWED: Declared("PERMISSION_DENIED", 403, "NO"),
    REGISTRY_LOST: Declared("UNAVAILABLE", 503, "LATER"),
    INSTANCE_LOST: Declared("UNAVAILABLE", 503, "LATER"),
    SERVICE_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    INSTANCE_MISSING: Declared("INVALID_ARGUMENT", 400, "NO"),
    LEASE_EXPIRED: Declared("DEADLINE_EXCEEDED", 504, "LATER"),
    STORAGE_FULL: Declared("UNAVAILABLE", 503, "AFTER_CHANGE"),
    POSTGRES_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    POSTGRES_READ_ONLY: Declared("UNAVAILABLE", 503, "LATER"),
    POSTGRES_IO_ERROR: Declared("UNAVAILABLE", 503, "LATER"),
    POSTGRES_OUT_OF_RESOURCES: Declared("UNAVAILABLE", 503, "LATER"),
    POSTGRES_REFUSED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    REDIS_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    REDIS_READ_ONLY: Declared("UNAVAILABLE", 503, "LATER"),
    REDIS_IO_ERROR: Declared("UNAVAILABLE", 503, "LATER"),
    REDIS_OUT_OF_MEMORY: Declared("UNAVAILABLE", 503, "LATER"),
    REDIS_URL_INVALID: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    DATABASE_NEWER: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MIGRATION_MISNAMED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    SETTINGS_INVALID: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    SETTINGS_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    SERVICE_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "NO"),
    HTTP_PORT_SHARED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    HTTP_START_FAILED: Declared("UNAVAILABLE", 503, "LATER"),
    ADDRESS_IN_USE: Declared("UNAVAILABLE", 503, "LATER"),
    HOST_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    KEY_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    KEY_MALFORMED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    KEY_EXPOSED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    KEY_TOO_WEAK: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_MALFORMED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_EXPIRED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_EXPOSED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_MISNAMED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CERTIFICATE_UNTRUSTED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CA_KEY_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CA_KEY_FOREIGN: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CA_NEXT_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CA_NEXT_WAITING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    CA_IN_USE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    OVERLOADED: Declared("UNAVAILABLE", 503, "LATER"),
    NO_LIVE_INSTANCE: Declared("UNAVAILABLE", 503, "LATER"),
    GATEWAY_OVERLOADED: Declared("UNAVAILABLE", 503, "LATER"),
    GATEWAY_ERROR: Declared("INTERNAL", 500, "LATER"),
    BAD_GATEWAY: Declared("UNAVAILABLE", 502, "LATER"),
    REQUEST_TIMEOUT: Declared("DEADLINE_EXCEEDED", 408, "LATER"),
    UNKNOWN_SERVICE: Declared("UNIMPLEMENTED", 404, "NO"),
    NO_SUCH_PATH: Declared("NOT_FOUND", 404, "NO"),
    METHOD_NOT_ALLOWED: Declared("UNIMPLEMENTED", 405, "NO"),
    UNSUPPORTED_MEDIA_TYPE: Declared("INVALID_ARGUMENT", 415, "NO"),
    UNSUPPORTED_ENCODING: Declared("INVALID_ARGUMENT", 415, "NO"),
    BAD_REQUEST: Declared("INVALID_ARGUMENT", 400, "NO"),
    FORBIDDEN: Declared("PERMISSION_DENIED", 403, "NO"),
    TOO_MANY_REQUESTS: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    MALFORMED_JSON: Declared("INVALID_ARGUMENT", 400, "NO"),
    UNKNOWN_FIELD: Declared("INVALID_ARGUMENT", 400, "NO"),
    DUPLICATE_FIELD: Declared("INVALID_ARGUMENT", 400, "NO"),
    NUMBER_OUT_OF_RANGE: Declared("INVALID_ARGUMENT", 400, "NO"),
    NUMBER_NOT_EXACT: Declared("INVALID_ARGUMENT", 400, "NO"),
    TOO_DEEP: Declared("INVALID_ARGUMENT", 400, "NO"),
    FILE_UNREADABLE: Declared("INTERNAL", 500, "AFTER_CHANGE"),
    TLS_INCOMPLETE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    TLS_UNREADABLE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    TLS_UNUSABLE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    UNKNOWN_URL: Declared("NOT_FOUND", 404, "NO"),
    METHOD_NOT_SUPPORTED: Declared("UNIMPLEMENTED", 405, "NO"),
    UPGRADE_REQUIRED: Declared("FAILED_PRECONDITION", 426, "NO"),
    WEBSOCKET_CONNECTION_LIMIT_REACHED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    BODY_TOO_LARGE: Declared("RESOURCE_EXHAUSTED", 413, "NO"),
    INVALID_TYPE: Declared("INVALID_ARGUMENT", 400, "NO"),
    INVALID_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    MISSING_REQUIRED_PARAMETER: Declared("INVALID_ARGUMENT", 400, "NO"),
    UNKNOWN_PARAMETER: Declared("INVALID_ARGUMENT", 400, "NO"),
    UNSUPPORTED_PARAMETER: Declared("INVALID_ARGUMENT", 400, "NO"),
    UNSUPPORTED_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    MUTUALLY_EXCLUSIVE_PARAMETERS: Declared("INVALID_ARGUMENT", 400, "NO"),
    EMPTY_ARRAY: Declared("INVALID_ARGUMENT", 400, "NO"),
    ARRAY_ABOVE_MAX_LENGTH: Declared("INVALID_ARGUMENT", 400, "NO"),
    STRING_ABOVE_MAX_LENGTH: Declared("INVALID_ARGUMENT", 400, "NO"),
    OBJECT_ABOVE_MAX_PROPERTIES: Declared("INVALID_ARGUMENT", 400, "NO"),
    INTEGER_BELOW_MIN_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    INTEGER_ABOVE_MAX_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    DECIMAL_BELOW_MIN_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    DECIMAL_ABOVE_MAX_VALUE: Declared("INVALID_ARGUMENT", 400, "NO"),
    REQUEST_MALFORMED: Declared("INVALID_ARGUMENT", 400, "NO"),
    METHOD_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    DEAD_LETTER_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    EVENT_UNREADABLE: Declared("INVALID_ARGUMENT", 400, "NO"),
    SURFACE_TAKEN: Declared("ALREADY_EXISTS", 409, "AFTER_CHANGE"),
    SURFACE_INVALID: Declared("INVALID_ARGUMENT", 400, "NO"),
    SURFACES_FULL: Declared("RESOURCE_EXHAUSTED", 429, "AFTER_CHANGE"),
    ADDRESS_NOT_IP: Declared("INVALID_ARGUMENT", 400, "AFTER_CHANGE"),
    BLOBS_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    BLOBS_REFUSED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MODEL_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    MODEL_CAPABILITY_MISSING: Declared("INVALID_ARGUMENT", 400, "NO"),
    MODEL_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    PARAMETER_NOT_SUPPORTED: Declared("INVALID_ARGUMENT", 400, "NO"),
    PROVIDER_REFUSED_REQUEST: Declared("INVALID_ARGUMENT", 400, "NO"),
    PROVIDER_CREDENTIAL_REFUSED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    PROVIDER_RATE_LIMITED: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    PROVIDER_UNAVAILABLE: Declared("UNAVAILABLE", 503, "LATER"),
    PROVIDER_TIMEOUT: Declared("UNAVAILABLE", 503, "LATER"),
    PROVIDER_STREAM_CUT: Declared("UNAVAILABLE", 503, "LATER"),
    PROVIDER_PROTOCOL_ERROR: Declared("UNAVAILABLE", 503, "LATER"),
    PROVIDER_ENDLESS: Declared("UNAVAILABLE", 503, "LATER"),
    CATALOGUE_INVALID: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    EMBEDDER_COLD: Declared("UNAVAILABLE", 503, "LATER"),
    EMBEDDING_QUEUE_FULL: Declared("RESOURCE_EXHAUSTED", 429, "LATER"),
    EMBEDDING_BUILD_FAILED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    WEIGHTS_MISSING: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MEDIA_INVALID: Declared("INVALID_ARGUMENT", 400, "NO"),
    MEDIA_TOO_LARGE: Declared("INVALID_ARGUMENT", 400, "NO"),
    MEDIA_UNREACHABLE: Declared("INVALID_ARGUMENT", 400, "NO"),
    MEDIA_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    TOOL_NOT_ALLOWED: Declared("INTERNAL", 500, "NO"),
    MODEL_TOO_LARGE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MODEL_FILE_INVALID: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    TRITON_SETTINGS_INVALID: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MODEL_LOAD_FAILED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    POLICY_DENIED: Declared("PERMISSION_DENIED", 403, "NO"),
    APPROVAL_REQUIRED: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    MESSAGE_TOO_LONG: Declared("INVALID_ARGUMENT", 400, "NO"),
    INVALID_JSON_SCHEMA: Declared("INVALID_ARGUMENT", 400, "NO"),
    OUTPUT_INVALID: Declared("INTERNAL", 500, "NO"),
    ITEM_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    PREVIOUS_RESPONSE_NOT_FOUND: Declared("INVALID_ARGUMENT", 400, "NO"),
    PREVIOUS_RESPONSE_IN_PROGRESS: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    RESPONSE_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    RESPONSE_NOT_IN_BACKGROUND: Declared("FAILED_PRECONDITION", 400, "NO"),
    INTERRUPTED: Declared("UNAVAILABLE", 503, "LATER"),
    SESSION_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
    SESSION_NOT_ACTIVE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    SESSION_DELETED: Declared("ABORTED", 409, "LATER"),
    SESSION_TYPE_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "NO"),
    TEMPLATE_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "NO"),
    PARAMETER_UNKNOWN: Declared("INVALID_ARGUMENT", 400, "NO"),
    CONFIG_NOT_SUPPORTED: Declared("INVALID_ARGUMENT", 400, "NO"),
    STATUS_UNREACHABLE: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    REQUEST_IN_PROGRESS: Declared("ABORTED", 409, "LATER"),
    TOOL_CALL_NOT_FOUND: Declared("INVALID_ARGUMENT", 400, "NO"),
    COMPACTION_INVALID: Declared("INVALID_ARGUMENT", 400, "NO"),
    TENANT_MISMATCH: Declared("PERMISSION_DENIED", 403, "NO"),
    RULES_INVALID: Declared("FAILED_PRECONDITION", 400, "AFTER_CHANGE"),
    NOTE_NOT_FOUND: Declared("NOT_FOUND", 404, "NO"),
}
