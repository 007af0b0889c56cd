"""The statuses of a session, and which can follow which."""

ACTIVE, PAUSED, COMPLETED, ARCHIVED = "active", "paused", "completed", "archived"
STATUSES = (ACTIVE, PAUSED, COMPLETED, ARCHIVED)

FOLLOWING = {
    ACTIVE: frozenset({PAUSED, COMPLETED, ARCHIVED}),
    PAUSED: frozenset({ACTIVE, COMPLETED, ARCHIVED}),
    # Completed work is taken up again through `active`, and an archive is only opened, never worked in.
    COMPLETED: frozenset({ACTIVE, ARCHIVED}),
    ARCHIVED: frozenset({ACTIVE}),
}


def sources(status: str) -> list[str]:
    """The statuses a session may have when it is set to `status`; that one itself among them."""
    return [each for each in STATUSES if each == status or status in FOLLOWING[each]]
