"""What an import pulls in: who installs a part gets no more than it needs."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "triton", "faust", "pyarrow", "clickhouse_connect", "chdb")
SERVERS = ("starlette", "uvicorn", "prometheus_client")

BASE = {*HEAVY, *SERVERS}
"""What a production agent's base installation does not have."""
STREAMS = {"faust", "pyarrow", "clickhouse_connect"}


def top_level(module: str) -> set[str]:
    """Top-level packages in memory after a fresh process has imported a module."""
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("headrace.schemas", BASE),
        ("headrace.connectors.kafka", BASE),
        ("headrace.connectors.sdk", BASE),
        ("headrace.streams", BASE),
        ("headrace.streams.reward", BASE),
        ("headrace.streams.assemble.core", BASE - {"pyarrow"}),
        ("headrace.streams.credit.core", BASE),
        ("headrace.streams.assemble.stage", BASE - STREAMS),
        ("headrace.streams.credit.stage", BASE - STREAMS),
        ("headrace.kernels", BASE - {"torch", "triton"} | {"confluent_kafka", "fastavro"}),
        ("headrace.trainer", BASE | {"confluent_kafka"}),
        ("headrace.trainer.intake", BASE),
        (
            "headrace.trainer.run",
            {"faust", "pyarrow", "clickhouse_connect", "chdb", *SERVERS},
        ),
        ("headrace.infra.cli.app", {"torch", "transformers", "faust", "chdb"}),
    ],
)
def test_an_import_pulls_in_only_what_its_part_needs(module: str, never: set[str]) -> None:
    assert top_level(module) & never == set()
