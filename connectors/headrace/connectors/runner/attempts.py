"""One task from its record to its end marker."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from headrace.connectors.described import Described
from headrace.connectors.privacy import Privacy
from headrace.connectors.runner.cancellations import Cancellations
from headrace.connectors.runner.config import RunnerConfig
from headrace.connectors.runner.ends import (
    LIMIT,
    NUMBER,
    RUNNER,
    Ended,
    Run,
    RunnerStats,
    tell_end,
)
from headrace.connectors.runner.failures import Failures
from headrace.connectors.runner.jobs import (
    AgentStuck,
    Failure,
    Job,
    JobCancelled,
    WorkerDied,
    Workers,
)
from headrace.connectors.runner.retries import How, Retry, is_retried, pause_s
from headrace.connectors.sdk import Attempt, NotDurable, Telemetry
from headrace.schemas import Task
from headrace.schemas.vocabulary import InfrastructureEnd

logger = logging.getLogger(__name__)

_LOOK_S = 0.2
_SHOWN = 200  # characters of an agent's message in a line for people


class TaskRunner:
    """Runs tasks, each in the calling thread's time. Safe to share between threads."""

    def __init__(
        self, config: RunnerConfig, telemetry: Telemetry, pool: Workers, stop: threading.Event
    ) -> None:
        self.stats = RunnerStats()
        self.failures = Failures(config.pause_after)
        self.cancellations = Cancellations()
        self._config = config
        self._telemetry = telemetry
        self._privacy = Privacy(telemetry.config.privacy, telemetry.config.hidden)
        self._pool = pool
        self._stop = stop
        self._lock = threading.Lock()

    def run(self, task: Task, number: int = 1) -> Ended:
        """Make one attempt at a task, the `number`th of this runner.

        An attempt that another one follows says so by the event `retried`, and does not stand for
        its rollout. An attempt whose worker process died is ended with the event `worker_died`,
        whether it is followed or not.
        """
        began = time.monotonic()
        ended = Ended(
            how=How.STOPPED, rollout_id=task.rollout_id, agent=self._config.agent_of(task)
        )
        while not self.cancellations.known.wait(_LOOK_S):
            if self._stop.is_set():
                return self._counted(ended)
        attempt = self._begin(task, number)
        ended = replace(ended, attempt=attempt.attempt)
        if not self._durably(attempt.start):  # (rule: durable before the answer)
            return self._counted(ended)
        run = self._run_agent(task, attempt)
        again_s = self._again_s(task, run.how, number)
        if again_s is not None:
            attempt.event(
                InfrastructureEnd.RETRIED, {"number": number, "how": run.how, "again_s": again_s}
            )
        if not self._durably(partial(tell_end, attempt, run)):
            return self._counted(ended)
        ended = replace(ended, how=run.how, why=run.why, limit=run.limit, again_s=again_s)
        return self._counted(replace(ended, seconds=time.monotonic() - began))

    def _begin(self, task: Task, number: int) -> Attempt:
        return self._telemetry.attempt(
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
            attributes={RUNNER: self._config.name, NUMBER: number},
        )

    def _again_s(self, task: Task, how: How, number: int) -> float | None:
        config = self._config
        if number >= config.max_attempts or not is_retried(how, Retry(config.retry)):
            return None
        pause = pause_s(task.rollout_id, number, config.retry_first_s, config.retry_longest_s)
        if task.deadline and time.time() + pause >= task.deadline / 1000:
            return None
        return pause

    def _run_agent(self, task: Task, attempt: Attempt) -> Run:
        if why := self.cancellations.why(task):
            return self._cancelled(attempt, why)
        limit = self._config.attempt_timeout_s
        if task.deadline:
            limit = min(limit, task.deadline / 1000 - time.time())
        if limit <= 0:  # it waited too long for a runner, or for another attempt
            why = "the deadline was over before the agent began"
            attempt.event(InfrastructureEnd.NEVER_RUN, {"message": why})
            return Run(how=How.DEADLINE, why=why)
        job = self._job(task, attempt)
        try:
            with self.cancellations.running(task, partial(self._pool.cancel, job.key)):
                done = self._pool.run(job, limit)
        except JobCancelled:
            return self._cancelled(attempt, self.cancellations.why(task))
        except AgentStuck as error:
            attempt.event("deadline")
            self.failures.failed("it did not end by its deadline")
            return Run(how=How.DEADLINE, why=str(error))
        except WorkerDied as error:
            how = How.STOPPED if self._stop.is_set() else How.DIED
            event = (
                InfrastructureEnd.RUNNER_STOPPED
                if how is How.STOPPED
                else InfrastructureEnd.WORKER_DIED
            )
            attempt.event(event, {"message": str(error)})
            if how is How.DIED:
                self.failures.failed(f"its worker process ended ({error})")
            return Run(how=how, why=str(error))
        if done.failure is not None:
            return self._failed(attempt, done.failure)
        self.failures.ok()
        return Run(how=How.OK, output=Described(text=done.output, replaced=done.replaced))

    def _failed(self, attempt: Attempt, failure: Failure) -> Run:
        # What is shown in a log and in `headrace work`'s lines, where no producer redacts it; and
        # redacted before it is cut, for half of a value would not be known as one.
        message = self._privacy.text(failure.message) if self._may_tell(attempt.project) else ""
        why = f"{failure.name}: {message}" if message else failure.name
        if failure.limit:
            allowed = getattr(self._config, failure.limit)
            why = f"it met [runner] {failure.limit} = {allowed} ({why})"
            attempt.event(LIMIT, {"limit": failure.limit, "allowed": allowed, "message": why})
        attempt.failure(failure.name, failure.message, failure.trace)
        self.failures.failed(why[:_SHOWN])
        return Run(how=How.FAILED, why=why[:_SHOWN], limit=failure.limit)

    def _cancelled(self, attempt: Attempt, why: str) -> Run:
        attempt.event(InfrastructureEnd.CANCELLED, {"message": why})
        return Run(how=How.CANCELLED, why=why)

    def _job(self, task: Task, attempt: Attempt) -> Job:
        pinned = task.version >= 0
        return Job(
            key=self._pool.new_key(),
            agent=self._config.agent_of(task),
            task_input=task.input,
            base_url=attempt.base_url(self._config.gateway_url),
            gateway_url=self._config.gateway_url,
            api_key=self._config.api_key,
            names_agents=self._config.names_agents,
            model=f"{task.policy}@{task.version}" if pinned else task.policy,
            pinned=pinned,
            project=task.project,
            rollout_id=task.rollout_id,
            attempt=attempt.attempt,
            root=attempt.root,
            end_id=attempt.end_id,
            subject=task.subject,
        )

    def _may_tell(self, project: str) -> bool:
        """Whether what an agent's error says may be told."""
        return self._privacy.capture(project) == "full"

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

    def _counted(self, ended: Ended) -> Ended:
        with self._lock:
            setattr(self.stats, ended.how, getattr(self.stats, ended.how) + 1)
            self.stats.retried += ended.again_s is not None
        if ended.how not in (How.OK, How.STOPPED):
            then = "" if ended.again_s is None else f"; tried again in {ended.again_s:.1f} s"
            logger.warning(
                "agent %s, rollout %s: %s: %s%s",
                *(ended.agent, ended.rollout_id, ended.how, ended.why, then),
            )
        return ended
