"""What a call saw, as a hash: calls that saw the same are compared with each other. Pure."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

from headrace.schemas import Episode
from headrace.streams.credit.call.contract import Array, CreditedGroup
from headrace.streams.credit.call.rewards import call_rewards, returns_to_go
from headrace.streams.credit.call.turns import against_each_other


def hashes(episode: Episode, seen: Callable[[str], str]) -> Sequence[str]:
    """A hash of what each call's agent saw; '' for a call whose input is not known.

    `seen` takes a call's input, JSON text or not, and gives the part of it that counts.
    """
    return [_hash(call.agent, seen(call.input)) if call.input else "" for call in episode.calls]


def compared(group: CreditedGroup, gamma: float) -> list[Array]:
    """The baseline of the returns from all calls that saw the same, float64 [calls] each.

    NaN for a call that saw what nobody else did, or whose input is not known.
    """
    returns = [returns_to_go(call_rewards(each), gamma) for each in group.episodes]
    seen = [[call.observed or None for call in each.calls] for each in group.episodes]
    return against_each_other(group, seen, returns)


def _hash(agent: str, seen: str) -> str:
    return blake2b(f"{agent}\0{seen}".encode(errors="replace"), digest_size=8).hexdigest()
