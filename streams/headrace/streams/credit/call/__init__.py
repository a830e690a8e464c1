"""Stage 1, trajectory → call: what of an episode's advantage falls on each of its calls. Pure.

Sharing a return over calls and normalising afterwards turns the better action into the worse one
(rule: baseline before weights); `test_credit_stop_or_go_on.py` shows it.
Decompositions are of *rewards* and keep their sum; advantages need not sum to anything.

To add a method: write a CallMethod in a file of its own and name it in `credit/registry.py`. It
sees all episodes of the group that take part, with the facts of their calls and the group's
baseline; what it needs beyond these it takes from the Episode by `observe`, as a text per call that
is kept with the group.
"""

from headrace.streams.credit.call.contract import (
    Array,
    CallMethod,
    CreditedEpisode,
    CreditedGroup,
    observe_nothing,
)

__all__ = ["Array", "CallMethod", "CreditedEpisode", "CreditedGroup", "observe_nothing"]
