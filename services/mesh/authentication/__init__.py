"""Who calls: credentials are checked by the identity service, and the answers are kept for a short while."""
