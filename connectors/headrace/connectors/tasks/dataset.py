"""Tasks written down: one JSON object a line. No Kafka here."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from headrace.connectors.privacy import Privacy
from headrace.connectors.tasks.config import TaskItem
from headrace.connectors.tasks.errors import BadDataset

FIELDS = ("input", "expected")
FIELD_BYTES = 1_000_000  # longer texts of a span are cut (SdkConfig.text_bytes)
_SHOWN = 5


def read_items(lines: Iterable[str], name: str) -> list[TaskItem]:
    """The tasks of a file: an object a line, with `input` and, if there is one, `expected`.

    Both are any JSON but NaN and infinity, of a megabyte at most. Empty lines are left out.

    Args:
        lines: of the file, in order.
        name: of the file, for errors.

    Raises:
        BadDataset: names the first lines it cannot use, each with its fault; or there is no task.
    """
    items, faults = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            items.append(_item(line))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        more = f"\nand {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise BadDataset(f"{name} cannot be used:\n" + "\n".join(faults[:_SHOWN]) + more)
    if not items:
        raise BadDataset(f'{name} holds no task: write one a line, as {{"input": "What is 2+3?"}}')
    return items


def redacted_items(items: Iterable[TaskItem], privacy: Privacy) -> list[TaskItem]:
    """Tasks as they may be logged, and as an agent that sees what is kept is given them."""
    if privacy.redactor is None or privacy.settings.model_sees == "original":
        return list(items)

    def redacted(value: Any) -> Any:
        return json.loads(privacy.text(json.dumps(value, ensure_ascii=False)))

    return [TaskItem(input=redacted(i.input), expected=redacted(i.expected)) for i in items]


def _item(line: str) -> TaskItem:
    try:
        found = json.loads(line, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(found, dict):
        raise ValueError('no object: write {"input": …}')
    if "input" not in found:
        raise ValueError("`input` is missing: it is what the agent is given")
    if unknown := [key for key in found if key not in FIELDS]:
        raise ValueError(
            f"unknown {', '.join(f'`{key}`' for key in unknown)}: there are `input` and "
            "`expected`; put what else the agent or the reward rule needs into them"
        )
    for field in FIELDS:
        _check(field, found.get(field))
    return TaskItem(**found)


def _check(field: str, value: Any) -> None:
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"`{field}` holds half a surrogate pair, which is no character") from error
    except ValueError as error:  # 1e999 is read as infinity
        raise ValueError(f"`{field}` holds a number that is too large") from error
    if size > FIELD_BYTES:
        raise ValueError(
            f"`{field}` has {size} bytes: {FIELD_BYTES} at most; give the agent a path to the rest"
        )


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON: use null or a number")
