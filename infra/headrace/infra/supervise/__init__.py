"""Running the parts as child processes: in order, restarted when they crash, never orphaned.

Linux only for the last: elsewhere the parts outlive a supervisor that is killed.
"""

from headrace.infra.supervise.part import OnEvent, Part, PartState, State
from headrace.infra.supervise.status import Status, read_status
from headrace.infra.supervise.supervisor import Supervisor

__all__ = ["OnEvent", "Part", "PartState", "State", "Status", "Supervisor", "read_status"]
