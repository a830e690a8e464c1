"""The agent's tool: a calculator for two whole numbers."""

import operator
import re

EXPRESSION = re.compile(r"\s*(\d{1,9})\s*([+*-])\s*(\d{1,9})\s*", re.ASCII)
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def calculate(expression: str) -> int | None:
    """The value of `a + b`, `a - b` or `a * b`; None for anything else."""
    match = EXPRESSION.fullmatch(expression)
    if match is None:
        return None
    left, sign, right = match.groups()
    return int(OPERATIONS[sign](int(left), int(right)))
