"""What becomes of records: decoded, refused at once, waited for, or given up once."""

import asyncio
from collections.abc import Callable

from headrace.connectors.kafka import Decoder, LogRecord, Patience
from headrace.schemas import (
    MalformedRecord,
    RegistryUnavailable,
    UnknownSchemaId,
    frame,
    unframe,
)

LIMIT_S = 30.0


class Registry:
    """Knows some ids, may be away, and has a clock of its own that waiting moves."""

    def __init__(self, *known: int) -> None:
        self.known = set(known)
        self.away = False
        self.now = 0.0
        self.asked: list[int] = []
        self.pauses = 0
        self.on_pause: Callable[[], None] = lambda: None
        self.patience = Patience(on_wait=self.wait, delay_s=0.0)
        self.decoder = Decoder(
            self.read, stage="test", unknown_schema_s=LIMIT_S, clock=lambda: self.now
        )

    def wait(self) -> None:
        self.now += 1.0
        self.pauses += 1
        self.on_pause()

    def read(self, record: LogRecord) -> bytes:
        schema_id, body = unframe(record.value)
        self.asked.append(schema_id)
        if self.away:
            raise RegistryUnavailable("away")
        if schema_id not in self.known:
            raise UnknownSchemaId(f"no schema {schema_id}")
        if body == b"bad":
            raise MalformedRecord("bad body")
        return body

    def decode(self, *values: bytes | None) -> tuple[list[bytes], list[tuple[int, str]]]:
        """The bodies that were taken, and (offset, reason) of what was refused."""
        records = [
            LogRecord(topic="t", partition=0, offset=offset, log_time=7, value=value)
            for offset, value in enumerate(values)
        ]
        decoded = self.decoder.decode(records, self.patience)
        refused = [(letter.offset, letter.reason) for letter in decoded.refused]
        assert all(letter.log_time == 7 for letter in decoded.refused)
        return [body for _, body in decoded.taken], refused


def test_what_is_no_record_is_refused_at_once_and_the_rest_is_taken_in_order() -> None:
    registry = Registry(1)
    taken, refused = registry.decode(frame(1, b"a"), None, b"x", frame(1, b"bad"), frame(1, b"b"))
    assert taken == [b"a", b"b"]
    assert refused == [(1, "malformed"), (2, "malformed"), (3, "malformed")]
    assert registry.pauses == 0


def test_an_unknown_id_costs_its_wait_once_however_many_records_have_it() -> None:
    registry = Registry(1)
    poison = frame(9, b"?")
    taken, refused = registry.decode(poison, frame(1, b"a"), poison, poison)
    assert taken == [b"a"]
    assert refused == [(0, "unknown_schema"), (2, "unknown_schema"), (3, "unknown_schema")]
    assert registry.now == LIMIT_S
    registry.asked.clear()
    assert registry.decode(*[poison] * 100)[0] == []
    assert registry.now == LIMIT_S, "given up before, and remembered"
    assert registry.asked == [9], "yet asked for once more"


def test_two_unknown_ids_wait_together() -> None:
    registry = Registry()
    _, refused = registry.decode(frame(8, b""), frame(9, b""))
    assert len(refused) == 2
    assert registry.now == LIMIT_S


def test_an_id_that_the_registry_learns_is_decoded() -> None:
    registry = Registry(1)

    def learn() -> None:
        if registry.now == 5.0:
            registry.known.add(9)

    registry.on_pause = learn
    assert registry.decode(frame(9, b"late"), frame(1, b"a")) == ([b"late", b"a"], [])
    assert registry.patience.waiting == ""


def test_an_id_that_was_given_up_is_decoded_when_it_becomes_known_after_all() -> None:
    registry = Registry()
    assert registry.decode(frame(9, b"lost"))[1] == [(0, "unknown_schema")]
    registry.known.add(9)
    assert registry.decode(frame(9, b"found")) == ([b"found"], [])


def test_a_registry_that_is_away_is_waited_for_and_uses_up_nothing() -> None:
    registry = Registry(1)
    registry.away = True
    told = []

    def come_back() -> None:
        told.append(registry.patience.waiting)
        if registry.now == 10 * LIMIT_S:
            registry.away = False

    registry.on_pause = come_back
    taken, refused = registry.decode(frame(1, b"a"), frame(9, b"?"))
    assert (taken, refused) == ([b"a"], [(1, "unknown_schema")])
    assert registry.now == 11 * LIMIT_S
    assert told[0] == "away"


def test_an_event_loop_gets_the_same() -> None:
    registry = Registry(1)
    records = [
        LogRecord(topic="t", partition=0, offset=0, log_time=0, value=frame(1, b"a")),
        LogRecord(topic="t", partition=0, offset=1, log_time=0, value=frame(9, b"?")),
    ]
    decoded = asyncio.run(registry.decoder.adecode(records, registry.patience))
    assert [body for _, body in decoded.taken] == [b"a"]
    assert [letter.offset for letter in decoded.refused] == [1]
    assert registry.now == LIMIT_S
