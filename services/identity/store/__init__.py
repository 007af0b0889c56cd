"""What identity keeps in Postgres: one module for each noun."""
