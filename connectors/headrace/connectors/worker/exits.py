"""Exit codes of stream workers, as those who write them and those who supervise know them."""

EXIT_REVOKED = 3
"""A partition was taken away; state must never outlive an assignment."""
EXIT_NOT_ASSIGNED = 4
"""Nothing of its topic was assigned: the same again after a restart."""
EXIT_RESUMED = 5
"""A halted partition of its may go on."""
PLANNED_EXITS = frozenset({EXIT_REVOKED, EXIT_RESUMED})
"""Those that ask for a restart at once and are no failure."""
