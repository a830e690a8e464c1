"""Where rollouts come from: tasks drawn, admitted at the trainer's pace, and put on Kafka."""

from headrace.infra.tasks.admission import Admission
from headrace.infra.tasks.config import TaskItem, TaskSourceConfig
from headrace.infra.tasks.source import TaskSource

__all__ = ["Admission", "TaskItem", "TaskSource", "TaskSourceConfig"]
