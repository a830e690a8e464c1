"""Why a request is refused, as OTLP says it: an HTTP status and a google.rpc.Status."""


class OtlpError(Exception):
    """A request is not taken. `retry`: whether sending it again can help."""

    status = 400
    code = 3
    """Of google.rpc.Code."""
    retry = False


class BadRequest(OtlpError):
    """The body cannot be read; the message says where."""


class NotAllowed(OtlpError):
    """The request comes from a web page elsewhere."""

    status, code = 403, 7


class NoKey(OtlpError):
    """A key is asked for and there is none, or a wrong one."""

    status, code = 401, 16


class TooLarge(OtlpError):
    """The body is larger than the settings allow."""

    status, code = 413, 8


class Unsupported(OtlpError):
    """A content type or encoding that is not read."""

    status, code = 415, 3


class Busy(OtlpError):
    """Too much waits already."""

    status, code, retry = 429, 8, True


class Unavailable(OtlpError):
    """The spans are not durable: Kafka is away, and so is room in the spool."""

    status, code, retry = 503, 14, True


class ConfigurationError(Exception):
    """The receiver cannot start as it is configured."""
