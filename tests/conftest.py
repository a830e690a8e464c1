"""What every test sees: no network beyond this machine, and real parts that are started once."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support.stacks import (
    REAL_PARTS,
    claim,
    distribute,
    give_way,
    only_computes,
    uses_the_stack,
    workers,
)

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

# Chosen before any test can import Triton (see tests/kernels/conftest.py).
if os.environ.get("HEADRACE_KERNELS_ON_GPU") != "1":
    os.environ["TRITON_INTERPRET"] = "1"

# A property holds however busy the machine is.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and parts, so that `-m "not integration"` cannot miss one."""
    for item in items:
        folder = _folder(item.path)
        if folder in REAL_PARTS:
            item.add_marker(folder)
        elif uses_the_stack(item):
            item.add_marker("integration")
    distribute(items, HERE)


@pytest.hookimpl(optionalhook=True)  # there is one only with xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Say what `-n auto` is; `-n logical` stays one worker a core."""
    return workers() if config.getoption("numprocesses") == "auto" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a worker that is done with real parts give way to the others."""
    if hasattr(item.config, "workerinput") and only_computes(item, HERE):
        give_way()


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that connects beyond this machine."""
    if _folder(request.path) in REAL_PARTS:
        return
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def checked_connect(self: socket.socket, address: Any) -> None:
        _refuse_remote(self.family, address)
        connect(self, address)

    def checked_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_remote(self.family, address)
        return connect_ex(self, address)

    def checked_getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        _refuse_remote(socket.AF_INET, (host,))
        return getaddrinfo(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", checked_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", checked_getaddrinfo)


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Real Kafka with its topics, registry and ClickHouse on free ports, once in a worker."""
    from headrace.infra.embedded import running_stack

    def tell(part: str, state: str, message: str) -> None:
        logging.getLogger("tests.stack").info("%s %s: %s", part, state, message)

    run, worker = tmp_path_factory.getbasetemp(), "main"
    if hasattr(request.config, "workerinput"):  # a worker's folder lies in that of the run
        run, worker = run.parent, run.name
    with running_stack(claim(run, worker), on_event=tell) as running:
        yield running


def _folder(path: Path) -> str:
    return path.relative_to(HERE).parts[0]


def _refuse_remote(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0]
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        pytest.fail(f"a unit test connects to {host}; only loopback is allowed", pytrace=True)
