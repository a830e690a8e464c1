"""What policies, outcomes and tasks say to a task source. Pure: no Kafka, its clock is given.

The result is that of the set of records: in whatever order the partitions come and however their
records are cut into batches, the same is asked for once all are read.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from headrace.connectors.tasks.admission import Admission
from headrace.connectors.tasks.config import TaskSourceConfig
from headrace.connectors.tasks.untrained import Untrained, pause_text
from headrace.connectors.worker.rest import Rest
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import SampleOutcome


class Following:
    """Takes decoded records, and says how many groups may be asked for.

    When the last `pause_after` groups that this source asked for all ended untrained, only one at
    a time is asked for, ever less often, until one is trained.
    """

    def __init__(
        self, config: TaskSourceConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.admission = Admission(
            rollouts_per_step=config.rollouts_per_step,
            max_staleness=config.max_staleness,
            group_size=config.group_size,
        )
        self._config = config
        self._rest = Rest(config.pause_after, clock)
        self._untrained = Untrained(config.pause_after)
        self._served = -1
        self._known = False

    @property
    def paused(self) -> str:
        """Why only single groups are asked for, and what to do; empty: it is not so."""
        if not self._rest.paused:
            return ""
        return pause_text(
            self._untrained.reasons, newest=self.admission.version, served=self._served
        )

    @property
    def next_try_s(self) -> float:
        """Seconds until a group is tried in a pause."""
        return self._rest.next_try_s

    def begin(self, version: int) -> None:
        """What was trained in steps to a version and to earlier ones is not all told."""
        self.admission.begin(version)

    def take(self, topic: str, record: Mapping[str, Any]) -> None:
        """A record of one of the three topics."""
        if topic == Topic.POLICIES:
            self._policy(record)
        elif (record["policy"], record["project"]) != (self._config.policy, self._config.project):
            return
        elif topic == Topic.OUTCOMES:
            self._outcome(record)
        elif (
            record["split"] == self._config.split
            and record["version"] < 0
            and not record["cancelled"]  # its outcome frees its place
        ):
            self.admission.admitted([record["rollout_id"]])

    def settle(self) -> None:
        """Everything that the log holds now has been taken."""
        self._known = True
        self.admission.settle()

    def groups(self) -> int:
        """Groups that may be asked for now; none before the first `settle`."""
        if not self._known or not self._rest.may_start():
            return 0
        allowed = self.admission.groups()
        return min(1, allowed) if self._rest.paused else allowed

    def asked(self, group: str, rollouts: list[str]) -> None:
        """A group is asked for."""
        self.admission.admitted(rollouts)
        self._untrained.asked(group, rollouts)
        self._rest.started()

    def _policy(self, record: Mapping[str, Any]) -> None:
        version, traffic = record["version"], record["traffic"]
        if version is not None and version["policy"] == self._config.policy:
            self.admission.published(version["version"])
        if traffic is not None and traffic["policy"] == self._config.policy:
            self._served = traffic["version"]

    def _outcome(self, record: Mapping[str, Any]) -> None:
        if record["trainer"] != self._config.trainer:
            return
        trained = record["outcome"] == SampleOutcome.TRAINED
        if record["outcome"] == SampleOutcome.REVISED:  # its rollout was over before
            return
        self.admission.outcome(record["rollout_id"], trained=trained, step=record["step"])
        reason = "" if trained else record["reason"] or "unknown"
        ended = self._untrained.outcome(record["group_id"], record["rollout_id"], reason)
        if ended is True:
            self._rest.ok()
        elif ended is False:
            self._rest.failed()
