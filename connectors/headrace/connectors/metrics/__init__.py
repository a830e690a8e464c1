"""What a worker tells of itself, for Prometheus: on loopback, at a port of the system's choice.

`names` says which metrics there are, `collect` makes them of a worker's report, `server` answers.
"""

from headrace.connectors.metrics.reporter import Reporter, Subscription

__all__ = ["Reporter", "Subscription"]
