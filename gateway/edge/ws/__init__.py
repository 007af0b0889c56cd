"""Document 003's WebSockets: what happens in tasks, told as it happens."""
