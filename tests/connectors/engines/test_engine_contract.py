"""The contract imports lightly and refuses what no engine can do."""

import subprocess
import sys

import pytest

from headrace.connectors.engines import InvalidRequest, SamplingParameters


def test_the_contract_imports_without_torch() -> None:
    code = (
        "import sys, headrace.connectors.engines\n"
        "assert not {'torch', 'transformers', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("max_tokens", 0),
        ("stop", ("",)),
    ],
)
def test_impossible_sampling_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest, match=field):
        SamplingParameters(**{field: value})  # type: ignore[arg-type]  # wrong on purpose
