"""The table `vocabulary`: what the tokens of each policy's base model stand for."""

import json
import logging
from pathlib import Path

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.engines.vocabulary import read_vocabulary

logger = logging.getLogger(__name__)

TABLE = "vocabulary"


def fill_vocabulary(client: ClickHouse, policy: str, model: Path) -> int:
    """Write the tokens of a policy whose model lies in a directory; nothing where they stand.

    Returns how many were written. A tokenizer whose tokens have no bytes of their own is told in
    the log: the view `tokens` then has ids alone.

    Raises ClickHouseUnavailable or ClickHouseRejected.
    """
    file = model / "tokenizer.json"
    try:
        vocabulary = read_vocabulary(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        logger.warning("the tokens of policy %s stay without their texts: %s", policy, error)
        return 0
    found = {token: piece for token, piece in enumerate(vocabulary.pieces) if piece}
    held = {
        row["token_id"]: row["bytes"]
        for row in client.query_arrow(
            "SELECT token_id, hex(bytes) AS bytes FROM vocabulary FINAL WHERE policy = {p:String}",
            {"p": policy},
        ).to_pylist()
    }
    lacking = [number for number, text in found.items() if held.get(number) != text.hex().upper()]
    if lacking:
        client.insert_arrow(
            TABLE,
            pa.table(
                {
                    "policy": pa.array([policy] * len(lacking), pa.string()),
                    "token_id": pa.array(lacking, pa.uint32()),
                    "bytes": pa.array([found[number] for number in lacking], pa.binary()),
                }
            ),
        )
    return len(lacking)
