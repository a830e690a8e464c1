"""Why TLS with a server failed, in words, whichever library asked. Pure."""

import ssl
from collections.abc import Iterator


def tls_fault(error: BaseException) -> str:
    """What was wrong with its certificate or its TLS; '' where it was something else."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message.rstrip('.')})"
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "").replace("_", " ").lower()
            if "certificate required" in reason:
                return "it asks for a certificate of ours, which headrace cannot give"
            return f"TLS with it fails ({reason or 'no reason given'})"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it is made of."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [each for each in inner if isinstance(each, BaseException)]
