"""Finding free ports and refusing taken ones."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from headrace.infra.embedded import ports
from headrace.infra.errors import InfraError, PortInUse, SettingsError


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        port = ports.free_port()
        server.bind((ports.LOOPBACK, port))
        server.listen()
        yield port


def test_free_port_is_below_the_ephemeral_range_and_never_given_twice() -> None:
    found = [ports.free_port() for _ in range(50)]
    assert len(set(found)) == 50
    assert all(20000 <= port < 32000 for port in found)


def test_free_port_skips_a_port_in_use(listener: int) -> None:
    with pytest.raises(InfraError, match="no free port"):
        ports.free_port(listener, listener + 1)


def test_port_in_use_names_port_part_and_setting(listener: int) -> None:
    with pytest.raises(PortInUse) as refused:
        ports.ensure_free(listener, "Kafka", "kafka.port")
    for part in (str(listener), "Kafka", "kafka.port"):
        assert part in str(refused.value)


def test_a_port_whose_connections_linger_counts_as_free() -> None:
    port = ports.free_port()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((ports.LOOPBACK, port))
        server.listen()
        with socket.create_connection((ports.LOOPBACK, port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the server closes first: its end stays in TIME_WAIT
            assert client.recv(1) == b""
    ports.ensure_free(port, "Kafka", "kafka.port")


def test_answers_tells_a_listener_from_a_free_port(listener: int) -> None:
    assert ports.answers(listener)
    assert not ports.answers(ports.free_port())


@pytest.mark.parametrize("port", [0, 80, 65536])
def test_privileged_and_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(SettingsError, match=r"registry\.port"):
        ports.check_port(port, "registry.port")


def test_a_unit_test_cannot_reach_beyond_this_machine() -> None:
    with pytest.raises(pytest.fail.Exception), socket.socket() as client:
        client.connect(("192.0.2.1", 80))
    with pytest.raises(pytest.fail.Exception):
        socket.create_connection(("example.invalid", 80))
