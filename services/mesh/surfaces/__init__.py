"""What a service speaks over HTTP beside its contract: declared by the service, announced by its instance."""
