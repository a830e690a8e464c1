"""Errors of the wire.

SchemaError
├── InvalidId              an id that does not match the id pattern
├── MalformedRecord        bytes that are no record of ours: they go to the dead-letter topic
├── UnknownSchemaId        the registry does not know the id (yet)
└── RegistryUnavailable    the registry does not answer: wait and try again

Unavailable                what waiting mends: the base of it in each component's tree
"""


class SchemaError(Exception):
    """Root of the errors of `headrace.schemas`."""


class Unavailable(Exception):
    """A server is away: the same bytes may be sent again, for as long as it takes."""


class InvalidId(SchemaError, ValueError):
    """An id that does not match `[A-Za-z0-9._:-]{1,128}`."""


class MalformedRecord(SchemaError, ValueError):
    """Bytes that cannot be a record of the topic they came from."""


class UnknownSchemaId(SchemaError):
    """The registry has no schema under this id."""


class RegistryUnavailable(SchemaError, Unavailable):
    """The schema registry cannot be reached."""
