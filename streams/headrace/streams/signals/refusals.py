"""Refusals."""

import re

from headrace.streams.signals.take import Seen

_FINISHED = {"content_filter", "refusal", "safety"}
_BEGINNING = 240
_CANNOT = (
    r"(can(no|')t|can not|(am |'m )?(not able|unable) to|won't( be able to)?|will not"
    r"|must decline to)"
)
_THAT = r"(that|this|such|instructions|guidance|content|information|advice|request)"
_DO = (
    r"(help|assist|comply|fulfil+|engage|participate|support|do (that|this)"
    rf"|(provide|give|share|offer|write|create|generate|discuss|produce)\b.{{0,60}}\b{_THAT})"
)
_SAYS_NO = re.compile(
    rf"\bi ?{_CANNOT} {_DO}"
    r"|against my (guidelines|programming|policy)"
    r"|\bi (must|have to) (refuse|decline)\b",
    re.DOTALL,
)


_HINTS = ("can", "unable", "not able", "won't", "will not", "declin", "refuse", "against my")
"""One of them is in whatever _SAYS_NO finds: looked for first, for it costs a tenth."""


def refusals(episode: Seen) -> int:
    """Calls in which the model, or a filter before it, would not do what it was asked."""
    return sum(call.finish_reason in _FINISHED or _refuses(call.output) for call in episode.calls)


def _refuses(output: str) -> bool:
    if '"refusal"' in output and re.search(r'"refusal": ?"[^"]', output):
        return True
    beginning = output[:_BEGINNING].replace("\u2019", "'").lower()
    return any(hint in beginning for hint in _HINTS) and bool(_SAYS_NO.search(beginning))
