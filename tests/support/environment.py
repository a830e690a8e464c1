"""The environment of a part's process on the real parts of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack


def environment_of(stack: Stack, **settings: object) -> dict[str, str]:
    """This process's environment with the stack's addresses and settings.

    >>> environment_of(stack, HEADRACE_WORKER="sink-0", HEADRACE_CREDIT_GRACE_MS=500)
    """
    return {
        **os.environ,
        "HEADRACE_KAFKA_BOOTSTRAP": stack.bootstrap,
        "HEADRACE_REGISTRY_URL": stack.registry_url,
        "HEADRACE_CLICKHOUSE_URL": stack.clickhouse_url,
        **{name: str(value) for name, value in settings.items()},
    }
