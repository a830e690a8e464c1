"""Every kind of client enters a broker that asks for SASL/SCRAM over TLS, and none without."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from headrace.connectors.kafka import (
    GroupReader,
    KafkaAccess,
    KafkaUnavailable,
    Offsets,
    Outgoing,
    Patience,
    Registry,
    Stopped,
    Tailer,
    Writer,
    partitions_of,
    topics,
)
from headrace.connectors.runner.broker import BrokerWatch
from headrace.infra.launch.halted import halted_partitions
from headrace.infra.settings import Settings
from headrace.schemas import Codec
from headrace.trainer.publish import Publisher
from tests.support.secured import PASSWORD, WITHOUT_RIGHTS, Secured
from tests.support.waiting import wait_until


@pytest.fixture
def settings(secured: Secured) -> Settings:
    return secured.settings


def test_the_readers_of_trainer_gateway_and_status_enter(settings: Settings) -> None:
    kafka = settings.kafka_access.client("test-trainer")
    reader = Tailer(kafka, ["headrace.credits"], name="test-trainer")
    assert len(reader.partitions) == settings.kafka.partitions
    reader.close()
    tailer = Tailer(settings.kafka_access.client("test"), ["headrace.policies"], name="test")
    wait_until(lambda: tailer.read(0.2) is not None and tailer.caught_up, "the policies' end")
    tailer.close()
    assert halted_partitions(settings) == []


CREDENTIALS = "it does not accept our credentials; check [kafka] sasl_username, sasl_password"
CLOSED = "and that [kafka] security_protocol is what it asks for"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"security_protocol": "PLAINTEXT"}, CLOSED),
        ({"security_protocol": "SSL"}, CLOSED),
        ({"sasl_password": "guessed"}, CREDENTIALS),
        ({"sasl_username": "nobody"}, CREDENTIALS),
        ({"sasl_mechanism": "PLAIN"}, "by SCRAM-SHA-512 only; set [kafka] sasl_mechanism"),
        ({"ssl_ca_location": ""}, "its certificate is not trusted; name its authority in [kafka]"),
        ({"sasl_username": WITHOUT_RIGHTS}, f"user {WITHOUT_RIGHTS} may not use this topic; give"),
    ],
)
def test_who_lacks_what_the_broker_asks_for_is_told_which_setting_to_look_at(
    settings: Settings, changes: dict[str, str], told: str
) -> None:
    access = replace(settings.kafka_access, **changes)
    with pytest.raises(KafkaUnavailable) as refused:
        partitions_of(access.client("test-stranger"), "headrace.spans", timeout=3.0)
    assert told in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(access)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "it does not speak TLS; check [kafka] security_protocol"),
        ({"security_protocol": "SASL_PLAINTEXT"}, "it asks for no password; set [kafka] security_"),
    ],
)
def test_a_plain_broker_that_is_asked_for_more_is_told_to_be_one(
    secured: Secured, changes: dict[str, str], told: str
) -> None:
    access = replace(secured.settings.kafka_access, bootstrap=secured.plain, **changes)
    with pytest.raises(KafkaUnavailable, match=re.escape(told)):
        partitions_of(access.client("test-stranger"), "headrace.spans", timeout=3.0)


def test_a_certificate_is_as_good_as_a_password_where_brokers_ask_for_one(
    secured: Secured,
) -> None:
    access = KafkaAccess(
        bootstrap=secured.by_certificate,
        security_protocol="SSL",
        ssl_ca_location=secured.settings.kafka.ssl_ca_location,
        ssl_certificate_location=str(secured.identity.certificate),
        ssl_key_location=str(secured.identity.key),
    )
    assert partitions_of(access.client("test"), "headrace.spans") == 8
    without = replace(access, ssl_certificate_location="", ssl_key_location="")
    with pytest.raises(KafkaUnavailable, match=r"check .*ssl_certificate_location"):
        partitions_of(without.client("test-stranger"), "headrace.spans", timeout=3.0)


def test_each_client_tells_the_refusal_and_not_the_time_that_it_took(settings: Settings) -> None:
    access = replace(settings.kafka_access, sasl_password="guessed")
    writer = Writer(access.client("test-stranger", delivery_timeout_ms=2_000))
    codec = Codec(Registry(settings.registry_access))
    watch = BrokerWatch(access.client("test-stranger"))
    stop = threading.Event()
    patience = Patience("test", stop=stop, on_wait=stop.set)
    publisher = Publisher(access.client("t"), codec, patience, policy="refused", trainer="main")
    reader = GroupReader(
        access.client("test-stranger"), ["headrace.tasks"], group="t", on_error=watch.heard
    )
    asked: dict[str, Callable[[], object]] = {
        "writes": lambda: writer.send([Outgoing(topic="headrace.tasks", value=b"x")], 3.0),
        "offsets": lambda: Offsets(access.client("t")).ends([("headrace.spans", 0)]),
        "topics": lambda: topics.create_topics(access.client("t"), timeout=3.0),
    }
    try:
        for ask in asked.values():
            with pytest.raises(KafkaUnavailable, match=re.escape(CREDENTIALS)):
                ask()
        with pytest.raises(Stopped, match=re.escape(CREDENTIALS)):
            publisher.start()
        wait_until(lambda: not reader.read(0.2) and watch.away, "the runner's reader being told")
    finally:
        writer.close(0.0)
        reader.close()


def test_a_reader_that_may_not_read_says_so_and_does_not_wait_in_silence(
    settings: Settings,
) -> None:
    access = replace(settings.kafka_access, sasl_username=WITHOUT_RIGHTS)
    reader = GroupReader(access.client("test-guest"), ["headrace.tasks"], group="headrace.guest")

    def told() -> bool:
        try:
            reader.read(0.2)
        except KafkaUnavailable as error:
            return f"user {WITHOUT_RIGHTS} may not use" in str(error)
        return False

    wait_until(told, "the refusal")
    reader.close()
