"""What happened in tasks, kept in Redis for a while and followed live; losing it loses no work."""
