"""The signals by name."""

from collections.abc import Mapping

from headrace.schemas.vocabulary import InfrastructureEnd
from headrace.streams.signals.call_errors import call_errors
from headrace.streams.signals.empty_completions import empty_completions
from headrace.streams.signals.exceptions import exceptions
from headrace.streams.signals.infrastructure import infrastructure
from headrace.streams.signals.invalid_rewards import invalid_rewards
from headrace.streams.signals.malformed_tool_calls import malformed_tool_calls
from headrace.streams.signals.missing_base import missing_base
from headrace.streams.signals.no_start import no_start
from headrace.streams.signals.odd_deadlines import odd_deadlines
from headrace.streams.signals.ping_pongs import ping_pongs
from headrace.streams.signals.refusals import refusals
from headrace.streams.signals.repeated_ends import repeated_ends
from headrace.streams.signals.retry_storms import retry_storms
from headrace.streams.signals.stuck_loops import stuck_loops
from headrace.streams.signals.take import Signal, Take, each
from headrace.streams.signals.timeouts import timeouts
from headrace.streams.signals.tool_errors import tool_errors
from headrace.streams.signals.truncations import truncations
from headrace.streams.signals.unmatched_rewards import unmatched_rewards

SIGNALS: Mapping[str, Signal] = {
    "no_start": each(no_start),
    "odd_deadlines": each(odd_deadlines),
    "repeated_ends": repeated_ends,
    "exceptions": exceptions,
    "tool_errors": each(tool_errors),
    **{end.value: infrastructure(end) for end in InfrastructureEnd},
    "call_errors": each(call_errors),
    "truncations": each(truncations),
    "empty_completions": each(empty_completions),
    "timeouts": timeouts,
    "malformed_tool_calls": malformed_tool_calls,
    "refusals": each(refusals),
    "stuck_loops": each(stuck_loops),
    "retry_storms": each(retry_storms),
    "ping_pongs": each(ping_pongs),
    "missing_base": each(missing_base),
    "invalid_rewards": each(invalid_rewards),
    "unmatched_rewards": each(unmatched_rewards),
}


def read_signals(take: Take) -> list[dict[str, int]]:
    """The signals of each episode of a take that are not 0."""
    counts = {name: signal(take) for name, signal in SIGNALS.items()}
    return [
        {name: numbers[i] for name, numbers in counts.items() if numbers[i]}
        for i in range(len(take.episodes))
    ]
