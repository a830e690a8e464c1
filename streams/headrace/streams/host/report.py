"""How a stage's worker tells how it fares."""

from headrace.connectors.metrics import Reporter, Subscription
from headrace.streams.host.config import HostConfig
from headrace.streams.stage import Stage

TELLS_DEAD_LETTERS = "sink"
"""One stage tells how many records are dead letters: it reads them all."""


def make_reporter(config: HostConfig, stage: Stage) -> Reporter | None:
    """The worker's reporter; None where nobody wants to know."""
    if config.run_directory is None:
        return None
    subscription = Subscription(
        kafka=config.kafka.client(f"headrace.{config.name}.lag"),
        group=config.group_id,
        topics=list(stage.topics),
        dead_letters=config.name == TELLS_DEAD_LETTERS,
    )
    return Reporter(
        config.run_directory / f"{config.member_id}.json",
        part=config.name,
        subscription=subscription,
    )
