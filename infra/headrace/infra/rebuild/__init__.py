"""The derived tables made again from the log, compared with the live ones, and put in place."""

from headrace.infra.rebuild.compare import Compared
from headrace.infra.rebuild.run import CannotRebuild, Rebuilt, rebuild

__all__ = ["CannotRebuild", "Compared", "Rebuilt", "rebuild"]
