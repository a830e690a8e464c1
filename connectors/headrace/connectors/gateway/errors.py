"""What the gateway raises; an ApiError reaches the client in OpenAI's error format.

GatewayError
  ConfigurationError (also ValueError)  the gateway cannot start as it is configured
  ApiError                              an answer other than 200
    BadRequest           400            the request is malformed or asks for what is not served
    NotAuthorised        401            no key, or a wrong one
    NotFromHere          403            without keys: a web page's, or by a name of elsewhere
    WrongProject         403            the key is of another project
    ModelNotFound        404            no such model, policy or version
    NothingOnRecord      404            feedback on what nobody knows
    RequestTimedOut      408            the client took too long to send its request
    BodyTooLarge         413
    NotJson              415            the body is not sent as JSON
    Overloaded           429            too many requests in flight
    RateLimited          429            too many requests or tokens in a minute
    NotReady             503            no policy version is served yet
    NotDurable           503            neither Kafka nor the spool took the call
    CallFailed                          the call reached its backend and leaves a span
      PromptRefused      400            the engine cannot take this prompt
      ClientGone         499            the client left before its answer
      BackendFailed      502            the engine or the upstream failed
      CallTimedOut       504            the answer took too long
"""

from typing import Any


class GatewayError(Exception):
    """Root of what the gateway raises."""


class ConfigurationError(GatewayError, ValueError):
    """The gateway cannot start as it is configured; the message names the field and the fix."""


class ApiError(GatewayError):
    """An answer other than 200."""

    status = 500
    type = "server_error"
    code: str | None = None
    retry_after: int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code

    def body(self) -> dict[str, Any]:
        """The answer's JSON, as OpenAI's clients expect it."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


class BadRequest(ApiError):
    """The request is malformed, or it asks for something that is not served."""

    status = 400
    type = "invalid_request_error"


class NotAuthorised(ApiError):
    """No key, or a wrong one."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class NotFromHere(ApiError):
    """No key is needed, and the request may come from a web page of another site."""

    status = 403
    type = "invalid_request_error"
    code = "not_from_this_machine"


class WrongProject(ApiError):
    """The key is of one project, and the request names another."""

    status = 403
    type = "invalid_request_error"
    code = "wrong_project"


class ModelNotFound(ApiError):
    """No such model, policy or version."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class NothingOnRecord(ApiError):
    """Feedback on an answer or an episode that nobody knows."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class RequestTimedOut(ApiError):
    """The client took too long to send its request."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class BodyTooLarge(ApiError):
    """The body is larger than the setting allows."""

    status = 413
    type = "invalid_request_error"
    code = "body_too_large"


class NotJson(ApiError):
    """The body is not sent as JSON."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class Overloaded(ApiError):
    """Too many requests are in flight."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"
    retry_after = 1


class RateLimited(ApiError):
    """A key asked for more than it may in a minute."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, limit: str, retry_after: int) -> None:
        super().__init__(message)
        self.type = self.limit = limit
        self.retry_after = retry_after


class NotReady(ApiError):
    """No policy version is served yet; the message says what is awaited."""

    status = 503
    code = "not_ready"
    retry_after = 2


class CallNotDurable(ApiError):
    """Neither Kafka nor the spool took the call, so its answer may not go out."""

    status = 503
    code = "telemetry_not_durable"
    retry_after = 2


class CallFailed(ApiError):
    """The call reached its backend and brought no completion; it leaves a span."""

    status = 500
    code = "call_failed"


class PromptRefused(CallFailed):
    """The engine cannot take this prompt."""

    status = 400
    type = "invalid_request_error"
    code = "context_length_exceeded"


class ClientGone(CallFailed):
    """The client left before its answer."""

    status = 499
    code = "client_gone"


class BackendFailed(CallFailed):
    """The engine or the upstream failed."""

    status = 502
    code = "backend_failed"


class CallTimedOut(CallFailed):
    """The answer took too long."""

    status = 504
    code = "request_timeout"
