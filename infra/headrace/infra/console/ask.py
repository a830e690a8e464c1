"""The questions of the pages: files of `queries/`, asked read-only and within limits."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.rounds import Rounds

Row = dict[str, object]
LIMITS = {
    "readonly": 2,  # queries of ours may have SETTINGS
    "max_execution_time": 10,
    "max_result_rows": 20_000,
    "max_result_bytes": 64_000_000,
    "max_memory_usage": 500_000_000,
    "max_threads": 2,
}
SIDE_BY_SIDE = 4
"""Questions that a page has in ClickHouse at once."""
_ROUNDS = Rounds()


@dataclass(kw_only=True, slots=True, frozen=True)
class Answer:
    """A table of a page: the rows, and the query with the parameters that gave them."""

    name: str
    rows: list[Row]
    sql: str
    parameters: Mapping[str, object]


def ask(client: ClickHouse, name: str, **parameters: object) -> Answer:
    """The answer to `queries/{name}.sql`.

    Raises:
        ClickHouseUnavailable, ClickHouseRejected: as the client says.
    """
    return answer(client, name, _sql(name), parameters)


def ask_all(client: ClickHouse, *questions: tuple[str, Mapping[str, object]]) -> list[Answer]:
    """The answers to questions that do not need each other's, asked side by side.

    questions: of each the name and the parameters. Raises as `ask` does.
    """
    # Threads of its own: behind those of all pages one that is slow would hold up every other.
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="ask") as askers:
        return list(askers.map(lambda one: ask(client, one[0], **one[1]), questions))


def answer(client: ClickHouse, name: str, sql: str, parameters: Mapping[str, object]) -> Answer:
    """The answer to a query under the name `name`; raises as `ask` does.

    Pages that ask the same at once share the rows: they are only to be read.
    """
    same = (id(client), sql, repr(sorted(parameters.items())))
    rows = _ROUNDS.ask(same, lambda: client.query(sql, parameters, LIMITS))
    return Answer(name=name, rows=rows, sql=sql, parameters=parameters)


@cache
def _sql(name: str) -> str:
    return files(__package__).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
