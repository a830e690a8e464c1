"""The page for users: its example runs, and it names all that is public."""

import contextlib
import io
import re
from dataclasses import fields
from pathlib import Path

import headrace.kernels
from headrace.kernels import LossConfig

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def test_the_example_runs() -> None:
    # What needs TRL is run by tests/examples/test_trl_grpo.py.
    blocks = re.findall(r"```python\n(import torch.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(PAGE), "exec"), {})
        assert "clip_fraction" in printed.getvalue()


def test_every_public_name_and_setting_is_on_the_page() -> None:
    text = PAGE.read_text()
    names = [*headrace.kernels.__all__, *(field.name for field in fields(LossConfig))]
    assert not [name for name in names if f"`{name}" not in text and f"{name}=" not in text]


def test_every_triton_kernel_is_defined_on_the_page() -> None:
    source = Path(headrace.kernels.__file__).parent
    found = [re.findall(r"def (\w+_kernel)\(", one.read_text()) for one in source.rglob("*.py")]
    kernels = {name for names in found for name in names}
    assert len(kernels) > 15
    assert not [name for name in kernels if f"`{name}`" not in PAGE.read_text()]
