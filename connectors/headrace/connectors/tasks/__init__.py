"""Where rollouts come from: tasks drawn, admitted at the trainer's pace, and put on Kafka."""

from headrace.connectors.tasks.admission import Admission
from headrace.connectors.tasks.cancel import cancel_tasks
from headrace.connectors.tasks.config import TaskItem, TaskSourceConfig, TasksSettings
from headrace.connectors.tasks.dataset import read_items, redacted_items
from headrace.connectors.tasks.errors import BadDataset, TasksError, TasksMisconfigured
from headrace.connectors.tasks.pace import Pace, progress_text, waited_for
from headrace.connectors.tasks.source import TaskSource
from headrace.connectors.tasks.untrained import Untrained, pause_text

__all__ = [
    "Admission",
    "BadDataset",
    "Pace",
    "TaskItem",
    "TaskSource",
    "TaskSourceConfig",
    "TasksError",
    "TasksMisconfigured",
    "TasksSettings",
    "Untrained",
    "cancel_tasks",
    "pause_text",
    "progress_text",
    "read_items",
    "redacted_items",
    "waited_for",
]
