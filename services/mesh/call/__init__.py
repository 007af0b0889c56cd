"""What a call is, and what it passes through: pipeline, interceptors, errors, principal, page tokens."""
