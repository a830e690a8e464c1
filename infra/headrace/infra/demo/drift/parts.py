"""What an example that drifts brings: tasks before and after the change, and its users."""

from collections.abc import Iterator
from importlib import import_module
from threading import Event
from typing import Protocol, cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.tasks import TaskItem
from headrace.infra.demo.cases import Case, Tasks


class DriftingTasks(Tasks, Protocol):
    """The module `tasks`: `train` is before the change, `heldout` after it."""

    def train_after(self, seed: int = 0) -> Iterator[TaskItem]:
        """Tasks after the change, without end, drawn by a seed."""

    def heldout_before(self, n: int) -> list[TaskItem]:
        """Tasks as they were before the change, never trained on, always the same."""


class Users(Protocol):
    """Who gives feedback."""

    def look(self, stop: Event) -> int:
        """Judge what nobody has judged yet, until `stop`; raises ClickHouseUnavailable."""


class UsersModule(Protocol):
    """The module `users`."""

    def Users(self, client: ClickHouse, gateway_url: str, api_key: str, policy: str) -> Users:
        """The users of a policy."""


def drifting_tasks(case: Case) -> DriftingTasks:
    """The example's tasks."""
    return cast("DriftingTasks", case.tasks())


def users_of(case: Case, client: ClickHouse, gateway_url: str, api_key: str, policy: str) -> Users:
    """The example's users."""
    module = cast("UsersModule", import_module(f"examples.{case.name}.users"))
    return module.Users(client, gateway_url, api_key, policy)
