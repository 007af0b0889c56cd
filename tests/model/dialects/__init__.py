"""What each vendor's documentation says of its server, and a server that speaks so."""
