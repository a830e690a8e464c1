"""What an import pulls in: who installs a part gets no more than it needs."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "triton", "faust", "pyarrow", "clickhouse_connect", "chdb")
SERVERS = ("starlette", "uvicorn", "prometheus_client")

BASE = {*HEAVY, *SERVERS}
"""What a production agent's base installation does not have."""
STREAMS = {"faust", "pyarrow", "clickhouse_connect"}

# In the order of import, in one process for each list: an import must not pull in what is named
# beside it, nor may those before it have done so.
LIGHT: list[tuple[str, set[str]]] = [
    ("headrace.trainer", BASE | {"confluent_kafka"}),
    ("headrace.streams", BASE),
    ("headrace.schemas", BASE),
    ("headrace.connectors.sdk", BASE),
    ("headrace.connectors.kafka", BASE),
    ("headrace.trainer.intake", BASE),
    ("headrace.streams.reward", BASE),
    ("headrace.streams.credit.core", BASE),
    ("headrace.infra.cli.app", BASE),
    ("headrace.streams.assemble.core", BASE - {"pyarrow"}),
    ("headrace.streams.assemble.stage", BASE - STREAMS),
    ("headrace.streams.credit.stage", BASE - STREAMS),
]
WITH_TORCH: list[tuple[str, set[str]]] = [
    ("headrace.kernels", BASE - {"torch"} | {"confluent_kafka", "fastavro"}),
    ("headrace.trainer.run", {"faust", "pyarrow", "clickhouse_connect", "chdb", *SERVERS}),
]

# Our own modules are imported again each time, each on its own: but for the kernels, whose
# operators torch takes once.
PROGRAM = """
import importlib, json, sys
loaded = {}
for module in sys.argv[1:]:
    for name in list(sys.modules):
        if name.startswith("headrace.") and not name.startswith("headrace.kernels"):
            del sys.modules[name]
    importlib.import_module(module)
    loaded[module] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded))
"""


@pytest.mark.parametrize("rows", [LIGHT, WITH_TORCH], ids=["light", "with torch"])
def test_an_import_pulls_in_only_what_its_part_needs(rows: list[tuple[str, set[str]]]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(module for module, _ in rows)],
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded = json.loads(run.stdout)
    too_much = {module: never & set(loaded[module]) for module, never in rows}
    assert too_much == {module: set() for module, _ in rows}
