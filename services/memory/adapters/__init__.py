"""What memory needs of others, each behind what it asks of it."""
