"""Lists that an instrumentation spreads over attributes, as `0.message.role`. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

_DEPTH = 12


def gathered(named: Mapping[str, Any], left_out: Collection[str] = ()) -> Any:
    """What is under dotted names as one value; numbers in names are places in lists.

    `left_out`: parts of names that say nothing.
    """
    root: dict[str, Any] = {}
    for name, value in named.items():
        parts = [part for part in name.split(".", _DEPTH) if part not in left_out]
        holder = root
        for part in parts[:-1]:
            inner = holder.get(part)
            if not isinstance(inner, _Node):
                inner = holder[part] = _Node() if inner is None else _Node({"": inner})
            holder = inner
        last = parts[-1] if parts else name
        known = holder.get(last)
        if isinstance(known, _Node):
            known[""] = value
        else:
            holder[last] = value
    return _plain(root)


class _Node(dict[str, Any]):
    """A level of names; no value of an attribute is one."""


def _plain(node: Any) -> Any:
    if not isinstance(node, _Node) and type(node) is not dict:
        return node
    items = [
        (key, _plain(value) if isinstance(value, _Node) else value) for key, value in node.items()
    ]
    if items and all(key.isascii() and key.isdigit() and len(key) < 10 for key, _ in items):
        return [value for _, value in sorted(items, key=lambda item: int(item[0]))]
    return dict(items)
