"""Events between services: written with the change they report, relayed to Redis, handled once (docs/events.md)."""
