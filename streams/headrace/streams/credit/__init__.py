"""Credit: trajectory → call, group baseline, call → token; and groups, exactly once a version.

Pure: `call`, `baseline`, `running`, `token`, `method`, `state`, `settle`, `core`, `explain`.
Shells: `store` (ClickHouse), `delivery` (Kafka), `stage`, which are imported by their own names.
"""

from headrace.streams.credit.core import Arrival, Change, Groups, Held
from headrace.streams.credit.errors import CreditError, UnknownMethod
from headrace.streams.credit.method import CreditMethod
from headrace.streams.credit.settle import credits_of
from headrace.streams.credit.state import GroupPatience, GroupState

__all__ = [
    "Arrival",
    "Change",
    "CreditError",
    "CreditMethod",
    "GroupPatience",
    "GroupState",
    "Groups",
    "Held",
    "UnknownMethod",
    "credits_of",
]
