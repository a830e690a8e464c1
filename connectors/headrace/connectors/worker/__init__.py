"""What a worker process owes its supervisor: exit codes and heartbeats."""

from headrace.connectors.worker.exits import (
    EXIT_NOT_ASSIGNED,
    EXIT_RESUMED,
    EXIT_REVOKED,
    PLANNED_EXITS,
)
from headrace.connectors.worker.heartbeat import read_heartbeat, write_heartbeat

__all__ = [
    "EXIT_NOT_ASSIGNED",
    "EXIT_RESUMED",
    "EXIT_REVOKED",
    "PLANNED_EXITS",
    "read_heartbeat",
    "write_heartbeat",
]
