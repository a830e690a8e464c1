"""What all our HTTP servers share: the address they take, how they end, and who may ask.

`listening` needs uvicorn, so it is imported by its own name.
"""

from headrace.connectors.http_server.keys import (
    Keys,
    bad_host,
    bad_keys,
    digest_of,
    given_key,
    new_key,
)

__all__ = ["Keys", "bad_host", "bad_keys", "digest_of", "given_key", "new_key"]
