"""Events between services: written with the change they tell of, relayed to Redis, handled once (docs/events.md)."""
