"""The questions of the calculator agent on the plain SDK."""

from examples.calculator.tasks import heldout, train

__all__ = ["heldout", "train"]
