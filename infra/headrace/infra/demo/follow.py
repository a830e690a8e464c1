"""One line a version while the policy learns."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.status import Status

from headrace.connectors.clickhouse import ClickHouse, ClickHouseUnavailable
from headrace.connectors.kafka import Registry, Tailer
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.demo import queries
from headrace.infra.errors import InfraError
from headrace.infra.settings import Settings
from headrace.schemas import Codec, PolicyRecord, PolicyVersion, from_avro
from headrace.schemas.topics import Topic

READ_S = 0.5
STALL_S = 600.0
COLUMNS = "version  reward  trained  dropped  staleness  |Δlogp|    ESS  spans/s  step s  total s"


def follow_versions(
    settings: Settings,
    versions: int,
    client: ClickHouse,
    console: Console,
    check: Callable[[], None],
    after: int = -1,
) -> None:
    """Print a line for each new version until number `versions`; not of those up to `after`.

    `check` is called between two looks and raises what ends the wait. Raises InfraError on a stall.
    """
    if versions <= after:
        return
    codec = Codec(Registry(settings.registry_access))
    tail = Tailer(
        settings.kafka_access.client("headrace-demo"), [Topic.POLICIES], name="headrace.demo"
    )
    if after < 0:
        console.print(COLUMNS, style="bold", highlight=False, soft_wrap=True)
    speed = _Speed(client)
    started = seen_at = time.monotonic()
    try:
        with console.status("") as status:
            while True:
                for message in tail.read(READ_S):
                    record = from_avro(PolicyRecord, codec.decode(message.topic, message.value))
                    version = record.version
                    if version is None or version.policy != settings.policy.name:
                        continue
                    if version.version <= after:
                        continue
                    seen_at = time.monotonic()
                    line = _line(version, speed.since_last(), seen_at - started)
                    console.print(line, highlight=False, soft_wrap=True)
                    if version.version >= versions:
                        return
                check()
                _say_what_happens(status, settings)
                if time.monotonic() - seen_at > STALL_S:
                    raise InfraError(
                        f"no new version for {STALL_S:.0f} s: `headrace status` shows which "
                        "part is behind, and its log why"
                    )
    finally:
        tail.close()


class _Speed:
    """Spans stored per second between two looks."""

    def __init__(self, client: ClickHouse) -> None:
        self._client = client
        self._spans, self._at = self._count(), time.monotonic()

    def since_last(self) -> float:
        spans, now = self._count(), time.monotonic()
        rate = (spans - self._spans) / max(1e-3, now - self._at)
        self._spans, self._at = spans, now
        return rate

    def _count(self) -> int:
        try:
            return int(queries.ask(self._client, queries.SPANS)[0]["spans"])
        except ClickHouseUnavailable:  # restarting: the next look counts for both
            return getattr(self, "_spans", 0)


def _line(version: PolicyVersion, spans: float, seconds: float) -> str:
    metrics: Mapping[str, float] = version.metrics

    def cell(name: str, width: int, form: str) -> str:
        return f"{metrics[name]:{width}{form}}" if name in metrics else "-".rjust(width)

    return (
        f"{version.version:7}  {cell('reward', 6, '.2f')}  {version.samples:7}  "
        f"{cell('dropped', 7, '.0f')}  {cell('staleness_mean', 9, '.2f')}  "
        f"{cell('logp_gap', 7, '.4f')}  {cell('ess', 5, '.3f')}  {spans:7.1f}  "
        f"{cell('seconds', 6, '.1f')}  {seconds:7.0f}"
    )


def _say_what_happens(status: Status, settings: Settings) -> None:
    run = settings.directory / "run"
    trainer = read_heartbeat(run / "trainer.json")
    waiting = trainer.get("waiting_groups", 0)
    status.update(f"trainer: {trainer.get('doing', 'starting')} ({waiting} groups wait for a step)")
