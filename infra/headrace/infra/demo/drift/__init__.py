"""`headrace demo drift`: what users ask changes, feedback comes late, new versions are tried."""

from headrace.infra.demo.drift.course import learn_through_drift

__all__ = ["learn_through_drift"]
