"""One task from its record to its end marker."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.failures import Failures
from headrace.connectors.runner.jobs import AgentStuck, Job, WorkerDied, Workers
from headrace.connectors.sdk import Attempt, NotDurable, Telemetry
from headrace.connectors.sdk.described import Described
from headrace.schemas import Task
from headrace.schemas.vocabulary import InfrastructureEnd, SpanStatus

logger = logging.getLogger(__name__)

_SHOWN = 200  # characters of an agent's message in a line for people


@dataclass(slots=True)
class RunnerStats:
    """Attempts by how they ended."""

    ok: int = 0
    failed: int = 0
    """The agent raised."""
    deadline: int = 0
    """The agent did not end in time."""
    died: int = 0
    """The worker process ended under it."""
    stopped: int = 0
    """The runner was stopped."""

    def __str__(self) -> str:
        """As a person reads it: what ended well, and what else there was."""
        others = {
            "failed": self.failed,
            "past the deadline": self.deadline,
            "lost with a worker process": self.died,
            "stopped": self.stopped,
        }
        return ", ".join([f"{self.ok} ok", *(f"{n} {how}" for how, n in others.items() if n)])


class TaskRunner:
    """Runs tasks, each in the calling thread's time. Safe to share between threads."""

    def __init__(
        self, config: RunnerConfig, telemetry: Telemetry, pool: Workers, stop: threading.Event
    ) -> None:
        self.stats = RunnerStats()
        self.failures = Failures(config.pause_after)
        self._config = config
        self._telemetry = telemetry
        self._pool = pool
        self._stop = stop
        self._lock = threading.Lock()

    def run(self, task: Task) -> bool:
        """Run a task until an attempt at it has ended; False: run it again after a restart.

        An attempt whose worker process died is ended with status error and the event
        `worker_died`, and the task is tried again in a new attempt, `max_attempts` times at most.
        """
        for _ in range(self._config.max_attempts):
            how = self._attempt(task)
            self._count(how)
            if how == "stopped":
                return False
            if how != "died":
                return True
        return True

    def _attempt(self, task: Task) -> str:
        attempt = self._telemetry.attempt(
            task.rollout_id,
            group_id=task.group_id,
            group_size=task.group_size,
            group_rollouts=task.group_rollouts,
            policy=task.policy,
            split=task.split,
            deadline=task.deadline,
            expected=task.expected,
            task_input=task.input,
            agent=self._config.agent_of(task),
            project=task.project,
            subject=task.subject,
        )
        if not self._durably(attempt.start):  # (rule: durable before the answer)
            return "stopped"
        how, output = self._run_agent(task, attempt)
        status = SpanStatus.OK if how == SpanStatus.OK else SpanStatus.ERROR
        ended = self._durably(lambda: attempt.end(output, status=status))
        return how if ended else "stopped"

    def _run_agent(self, task: Task, attempt: Attempt) -> tuple[str, Described | None]:
        limit = self._config.attempt_timeout_s
        if task.deadline:
            limit = min(limit, task.deadline / 1000 - time.time())
        if limit <= 0:  # it waited too long for a runner, or for another attempt
            attempt.event(
                InfrastructureEnd.NEVER_RUN,
                {"message": "the deadline was over before the agent began"},
            )
            return "deadline", None
        try:
            done = self._pool.run(self._job(task, attempt), limit)
        except AgentStuck:
            attempt.event("deadline")
            self.failures.failed("it did not end by its deadline")
            return "deadline", None
        except WorkerDied as error:
            how = "stopped" if self._stop.is_set() else "died"
            event = (
                InfrastructureEnd.RUNNER_STOPPED
                if how == "stopped"
                else InfrastructureEnd.WORKER_DIED
            )
            attempt.event(event, {"message": str(error)})
            if how == "died":
                self.failures.failed(f"its worker process ended ({error})")
            return how, None
        if done.failure is not None:
            failure = done.failure
            agent = self._config.agent_of(task)
            logger.warning("agent %s raised %s: %s", agent, failure.name, failure.message)
            attempt.failure(failure.name, failure.message, failure.trace)
            self.failures.failed(f"{failure.name}: {failure.message[:_SHOWN]}")
            return "failed", None
        self.failures.ok()
        return SpanStatus.OK, Described(text=done.output, replaced=done.replaced)

    def _job(self, task: Task, attempt: Attempt) -> Job:
        pinned = task.version >= 0
        return Job(
            key=self._pool.new_key(),
            agent=self._config.agent_of(task),
            task_input=task.input,
            base_url=attempt.base_url(self._config.gateway_url),
            gateway_url=self._config.gateway_url,
            api_key=self._config.api_key,
            model=f"{task.policy}@{task.version}" if pinned else task.policy,
            pinned=pinned,
            project=task.project,
            rollout_id=task.rollout_id,
            attempt=attempt.attempt,
            root=attempt.root,
            end_id=attempt.end_id,
            subject=task.subject,
        )

    def _durably(self, emit: Callable[[], object]) -> bool:
        """Emit until it is durable; False: the runner was stopped first."""
        while True:
            try:
                emit()
            except NotDurable as error:
                logger.warning("an attempt waits for Kafka: %s", error)
                if self._stop.wait(1.0):
                    return False
            else:
                return True

    def _count(self, how: str) -> None:
        with self._lock:
            setattr(self.stats, how, getattr(self.stats, how) + 1)
