"""Where rollouts come from: tasks drawn, admitted at the trainer's pace, and put on Kafka."""

from headrace.infra.tasks.admission import Admission
from headrace.infra.tasks.config import TaskItem, TaskSourceConfig, source_config
from headrace.infra.tasks.dataset import BadDataset, read_items
from headrace.infra.tasks.pace import Pace, told, waited_for
from headrace.infra.tasks.source import TaskSource

__all__ = [
    "Admission",
    "BadDataset",
    "Pace",
    "TaskItem",
    "TaskSource",
    "TaskSourceConfig",
    "read_items",
    "source_config",
    "told",
    "waited_for",
]
