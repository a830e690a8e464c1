"""Errors of credit.

CreditError
└── UnknownMethod          a stage's method that does not exist, or with a wrong parameter
"""


class CreditError(ValueError):
    """Root of the errors of credit."""


class UnknownMethod(CreditError):
    """A setting names a method that the stage does not have."""
