"""`headrace demo`: the whole loop on genuine parts, and an honest test of whether it learnt."""

from headrace.infra.demo.run import DemoConfig, run_demo

__all__ = ["DemoConfig", "run_demo"]
