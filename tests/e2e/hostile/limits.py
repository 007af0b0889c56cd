"""The limits of the besieged stack."""

HEADERS_SECONDS = 2
REQUEST_SECONDS = 4
IDLE_SECONDS = 5
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
