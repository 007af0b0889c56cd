"""What every call goes through: pipeline, interceptors, errors, principal, page tokens."""
