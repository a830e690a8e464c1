"""Whether ClickHouse holds what the log says: nothing lost, nothing doubled, all counts add up.

Pure: `difference`, `sequences`, `spans`. `log` and `tables` read; `run` puts them together.
"""

from headrace.infra.audit.difference import Audit, Difference
from headrace.infra.audit.run import audit

__all__ = ["Audit", "Difference", "audit"]
