"""What every WebSocket of the edge stands on: its connection, who may have one, and how much may be said."""
