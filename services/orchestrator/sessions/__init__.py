"""Chat sessions: conversations with a title, a status and statistics."""
