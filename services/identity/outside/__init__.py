"""People of outside issuers (OpenID Connect): whose tokens are accepted, with which keys, and who they are here."""
