"""What `headrace run` and the agent's processes call things. Standard library only."""

JOURNAL = "HEADRACE_JOURNAL"
"""Folder that the agent's processes append their spans to."""
ROLLOUT = "HEADRACE_ROLLOUT_ID"
ATTEMPT = "HEADRACE_ATTEMPT_ID"
PROJECT = "HEADRACE_PROJECT"
RESULT_FILE = "HEADRACE_RESULT_FILE"
"""File that the agent may write its result to."""
TASK_INPUT = "HEADRACE_TASK_INPUT"
"""The task's input, where a command takes it so."""
MODEL = "HEADRACE_MODEL"
"""The model to ask for, where a task names one."""
REDIRECTED = "HEADRACE_REDIRECTED"
"""Base URL of the attempt's model calls, where they go to the gateway."""
TRACEPARENT = "TRACEPARENT"
"""W3C trace context: the span that a process was started in."""

PARENT_HEADER = "x-headrace-parent"
"""Header of a model call: the span that it was made in."""
HIDE_HEADER = "x-headrace-hide"
"""What a client hides of its calls: some of `content`, `inputs`, `outputs`, `tools`."""

NO_HEADRACE = "no-headrace"
"""Marker in the journal: a Python of the agent's has no headrace to import."""
ENDING = ".jsonl"


def attempt_path(project: str, rollout_id: str, attempt: str) -> str:
    """The path prefix under which the gateway counts calls to an attempt."""
    prefix = "" if project == "default" else f"/p/{project}"
    return f"{prefix}/rollout/{rollout_id}/attempt/{attempt}"
