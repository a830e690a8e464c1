"""The words of the wire: what statuses, outcomes, states and reasons may say.

A word is written here once; the `.avsc` files and the views in SQL are held against it by tests.
Fields stay strings on the wire, so a reader meets words of a later release as plain text.
"""

from enum import StrEnum


class Split(StrEnum):
    """What a task is for."""

    TRAIN = "train"
    EVAL = "eval"


class SpanKind(StrEnum):
    """What a span is. The position of a kind is its number on the wire: append only."""

    SPAN = "span"
    START = "attempt.start"
    END = "attempt.end"
    CALL = "call"
    TOOL = "tool"
    REWARD = "reward"
    EVENT = "event"
    EXCEPTION = "exception"
    CONTEXT = "call.context"
    """A framework's own span of a call that the gateway answered: tells its agent and parent."""


class SpanStatus(StrEnum):
    """How a span, a call, a tool or an attempt ended. Numbered on the wire: append only."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


class FinishReason(StrEnum):
    """Why our engines end a completion; another server's may say more."""

    STOP = "stop"
    LENGTH = "length"


class InfrastructureEnd(StrEnum):
    """Events by which a runner says that an attempt is not its rollout's result."""

    WORKER_DIED = "worker_died"
    RUNNER_STOPPED = "runner_stopped"
    NEVER_RUN = "never_run"
    RETRIED = "retried"
    """Another attempt follows, whatever ended this one."""
    CANCELLED = "cancelled"
    """The task was taken back: no attempt follows."""


class ClosedBy(StrEnum):
    """What closed an episode."""

    END = "end"
    IDLE = "idle"
    DEADLINE = "deadline"


class RowState(StrEnum):
    """Whether a row of `episodes` (closed) or `groups` (final) may still change by itself."""

    OPEN = "open"
    CLOSED = "closed"
    FINAL = "final"


class RolloutState(StrEnum):
    """Where a rollout is, as the view `rollouts` says."""

    ASKED = "asked"
    RUNNING = "running"
    WAITING = "waiting"
    """Ended; its group is not decided."""
    CREDITED = "credited"
    """Its trainer has not decided."""
    TRAINED = "trained"
    DROPPED = "dropped"
    EVALUATED = "evaluated"


class GroupOutcome(StrEnum):
    """How a group was credited."""

    TRAIN = "train"
    ZERO_ADVANTAGE = "zero_advantage"
    GROUP_INCOMPLETE = "group_incomplete"
    REWARD_ABSENT = "reward_absent"
    EVAL = "eval"


class MemberStatus(StrEnum):
    """Whether an episode takes part in its group, or why not."""

    USED = "used"
    SUPERSEDED = "superseded"
    INCOMPLETE = "incomplete"
    INFRASTRUCTURE = "infrastructure"
    CANCELLED = "cancelled"
    REWARD_ABSENT = "reward_absent"
    RULE_ERROR = "rule_error"
    REWARD_INVALID = "reward_invalid"


class Untrainable(StrEnum):
    """Why a call may not be trained."""

    NO_TOKENS = "no_tokens"
    NO_POLICY = "no_policy"
    EMPTY_COMPLETION = "empty_completion"
    NO_LOGPROBS = "no_logprobs"
    GREEDY = "greedy"
    OFF_SUPPORT = "off_support"
    CALL_FAILED = "call_failed"
    REDACTED = "redacted"
    """Prompt or completion held what is redacted, so their tokens are not kept."""
    NOT_CAPTURED = "not_captured"
    """The capture mode leaves tokens out, or a switch hides them."""
    INVALID_LOGPROBS = "invalid_logprobs"
    INVALID_VERSIONS = "invalid_versions"
    MISSING_BASE = "missing_base"
    NOT_TRAINABLE = "not_trainable"
    NOT_SELECTED = "not_selected"
    OTHER_POLICY = "other_policy"
    UNEXPLAINED = "untrainable"


class SaidBy(StrEnum):
    """Who moved a policy's traffic."""

    USER = "user"
    CANARY = "canary"


class SampleOutcome(StrEnum):
    """What became of a sample."""

    TRAINED = "trained"
    DROPPED = "dropped"
    REVISED = "revised"


class DropReason(StrEnum):
    """Why the trainer dropped what credit had given it; beside these, an outcome's reason is one of
    `GroupOutcome`, `MemberStatus` or `Untrainable`."""

    NOT_TRAINED = "not_trained"
    NO_CALL = "no_call"
    NEVER_STARTED = "never_started"
    SAMPLE_MISSING = "sample_missing"
    STALE = "stale"
    MEMORY = "memory"
    DECIDED = "decided"
    BAD_ROW = "bad_row"
    TOO_LONG = "too_long"
    RULE_CHANGED = "rule_changed"
    BASELINE_MISMATCH = "baseline_mismatch"
    """Credited against another baseline than the trainer's algorithm takes."""
    FUTURE_VERSION = "future_version"
    OFF_BRANCH = "off_branch"
    NON_FINITE = "non_finite"
    MAX_VERSIONS = "max_versions"
    """The trainer has made as many versions as it was to make."""
    REVISED_AFTER_TRAINING = "revised_after_training"
    REVISED_AFTER_DROP = "revised_after_drop"


class HaltState(StrEnum):
    """Whether a partition is still halted."""

    HALTED = "halted"
    RESUMED = "resumed"


class HaltReason(StrEnum):
    """Why a partition is halted."""

    POISON = "poison"
    LOG_LOST = "log_lost"
    NON_FINITE = "non_finite"
    NO_SPACE = "no_space"
    CHECKPOINT = "checkpoint"


class LetterReason(StrEnum):
    """Why a record went to a dead-letter topic."""

    MALFORMED = "malformed"
    UNKNOWN_SCHEMA = "unknown_schema"
    REPLAYED = "replayed"
    UNEXPLAINED = "unexplained"
