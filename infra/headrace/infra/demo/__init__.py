"""`headrace demo`: the whole loop on genuine parts, and an honest test of whether it learnt."""

from headrace.infra.demo.cases import CASES, Case
from headrace.infra.demo.run import DemoConfig, run_demo

__all__ = ["CASES", "Case", "DemoConfig", "run_demo"]
