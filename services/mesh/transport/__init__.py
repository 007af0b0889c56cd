"""How calls travel: channels in a process and between processes, servers, addresses, mutual TLS."""
