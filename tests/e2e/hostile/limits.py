"""The limits of the stack for misuse."""

# Long enough for the requests of a test while other tests use most of the machine.
HEADERS_SECONDS = 3
REQUEST_SECONDS = 8
IDLE_SECONDS = 10
CONNECTIONS = 900
MEMORY_MIB = 192
# Of the WebSockets for responses of one user.
SOCKETS = 40
MESSAGE_SECONDS = 5
ANSWER_BYTES = 1024 * 1024 * 1024
# By how much a limit may be late on a busy machine.
GRACE_SECONDS = 15

SETTINGS = f"""
[gateway]
headers_seconds = {HEADERS_SECONDS}
request_seconds = {REQUEST_SECONDS}
idle_seconds = {IDLE_SECONDS}
connections = {CONNECTIONS}
memory_bytes = {MEMORY_MIB * 1024 * 1024}

[edge]
response_sockets_per_user = {SOCKETS}
response_message_seconds = {MESSAGE_SECONDS}
# The pings that follow from this keep a connection alive for the gateway.
response_socket_silence_seconds = {2 * IDLE_SECONDS}
"""
SHORT_LIVED = """
[edge]
response_socket_seconds = 2.0
"""
