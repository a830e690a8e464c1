"""Why rollouts wait and samples are dropped: what each word means, and what to do where something
can be done."""

from collections.abc import Mapping

from headrace.schemas.vocabulary import RolloutState

REASONS: Mapping[str, tuple[str, str]] = {
    "zero_advantage": (
        "all members of the group got the same reward: there is nothing to tell apart",
        "harder or easier tasks, a reward that grades, larger groups",
    ),
    "group_incomplete": (
        "a member of the group did not come before its deadline",
        "look at running and failed episodes; `headrace status` tells what is behind",
    ),
    "reward_absent": ("no rule and no span gave a reward", "look at the reward rule's errors"),
    "stale": (
        "sampled by a version that is too far behind the trainer's",
        "[trainer] max_staleness, or fewer rollouts at once",
    ),
    "memory": (
        "the trainer had no room for it",
        "a smaller batch; shorter episodes",
    ),
    "too_long": ("longer than a row of the trainer may be", "shorter prompts, or longer rows"),
    "decided": ("its rollout had been decided before", "nothing: it was credited again"),
    "bad_row": ("its tokens do not fit each other", "`headrace dlq list`; please report it"),
    "sample_missing": ("credit came, but its tokens did not", "`headrace audit` finds where"),
    "never_started": (
        "no runner took the rollout before its deadline",
        "more runners: `headrace work`",
    ),
    "no_call": ("the episode called no model", "look at the episode"),
    "not_trained": ("the group is for evaluation, or teaches nothing", "nothing"),
    "off_branch": ("sampled by a version the trainer went back from", "nothing"),
    "future_version": (
        "sampled by a version this trainer has not made",
        "is there a second trainer?",
    ),
    "non_finite": ("its loss was no number", "`headrace status`; a lower learning rate"),
    "max_versions": (
        "the trainer has made as many versions as it was to make",
        "more of them: [trainer] max_versions, or `headrace demo --versions`",
    ),
    "rule_changed": ("credited by a rule that is not the trainer's any more", "nothing"),
    "baseline_mismatch": (
        "credited against another baseline",
        "one algorithm for both: docs/algorithms.md",
    ),
    "revised_after_training": ("its credit was revised after it was trained", "nothing"),
    "revised_after_drop": ("its credit was revised after it was dropped", "nothing"),
    "superseded": ("another attempt at the rollout was used", "nothing"),
    "incomplete": ("batches of its episode are missing", "`headrace audit` finds where"),
    "infrastructure": ("the runner ended it, not the agent", "the runner's log"),
    "cancelled": ("the task was taken back", "nothing"),
    "rule_error": ("the reward rule raised an error", "the page Rewards shows it"),
    "reward_invalid": ("the reward is no finite number", "the page Rewards shows it"),
    "no_policy": (
        "its engine served weights that are no version",
        "a trainer: it publishes version 0",
    ),
    "off_support": (
        "drawn by other rules than the policy's own: top-p, top-k, penalties, or a form",
        "a temperature above 0, without top-p, top-k, penalties and schemas",
    ),
    "invalid_logprobs": ("a log-probability of it is no finite number", "please report it"),
    "invalid_versions": ("its versions do not cover its tokens", "please report it"),
    "missing_base": (
        "its prompt extends a call of which nobody has the tokens",
        "look at the episode: the call before it has the cause",
    ),
    "not_trainable": ("whoever recorded it said that it is not to be trained", "nothing"),
    "not_selected": ("its agent is not trained", "the settings of [agents]"),
    "untrainable": ("whoever credited it did not say why", "please report it"),
    "eval": ("its group is for evaluation", "nothing"),
    "greedy": ("sampled at temperature 0: there is no distribution to learn from", "a temperature"),
    "redacted": ("its texts held what is redacted", "docs/privacy.md"),
    "not_captured": ("its tokens were not kept", "[privacy] capture"),
    "no_tokens": ("the server that answered gave no tokens", "an engine of headrace's, or vLLM"),
    "no_logprobs": ("the server gave no log-probabilities", "an engine that gives them"),
    "call_failed": ("the call failed", "look at the episode"),
    "empty_completion": ("the model said nothing", "nothing"),
    "other_policy": ("another policy answered the call", "nothing: its own trainer decides"),
}
"""Reason -> what it means, what to do. A reason that is not here is shown as it is."""
WAITS: Mapping[str, str] = {
    RolloutState.ASKED: "no runner has taken it",
    RolloutState.RUNNING: "its agent runs",
    RolloutState.WAITING: "its group is not decided",
    "group_open": "other members of its group are awaited",
    "not_credited": "the credit stage has not come to it",
    RolloutState.CREDITED: "its trainer has not come to it",
}
"""State of a rollout, or the reason that it is in it -> what it waits for."""
