"""The limits of the besieged stack."""

# Long enough for what a test itself sends or opens while other tests take most of the machine.
HEADERS_SECONDS = 3
REQUEST_SECONDS = 8
IDLE_SECONDS = 10
CONNECTIONS = 900
MEMORY_MIB = 192
ANSWER_BYTES = 1024 * 1024 * 1024
# What a limit may be late by on a busy machine.
GRACE_SECONDS = 15

SETTINGS = f"""
[gateway]
headers_seconds = {HEADERS_SECONDS}
request_seconds = {REQUEST_SECONDS}
idle_seconds = {IDLE_SECONDS}
connections = {CONNECTIONS}
memory_bytes = {MEMORY_MIB * 1024 * 1024}
"""
