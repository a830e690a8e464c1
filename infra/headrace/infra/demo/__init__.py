"""`headrace demo`: the whole loop on genuine parts, and an honest test of whether it learnt."""

from headrace.infra.demo.cases import CASES, Case
from headrace.infra.demo.config import DemoConfig
from headrace.infra.demo.run import run_demo

__all__ = ["CASES", "Case", "DemoConfig", "run_demo"]
