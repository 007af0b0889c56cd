"""The identity service: tenants, users, roles, service accounts, and who has a credential."""
