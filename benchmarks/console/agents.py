"""Two agents that learn: `calculator` answers with one call, `support` looks an order up."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from benchmarks.console.book import Book

_ITEMS = ("lamp", "kettle", "rucksack", "keyboard", "tent", "headphones")
_PIECE = re.compile(r" ?[A-Za-z]{1,6}| ?\d{1,2}|.", re.DOTALL)


@dataclass(kw_only=True, slots=True, frozen=True)
class Did:
    """What an agent did in one episode."""

    spans: tuple[dict[str, Any], ...]
    result: str
    reward: float
    dimensions: tuple[tuple[str, float], ...]


def calculates(book: Book, task: Any, skill: float) -> Any:
    """A question of sums (task None), or what the agent did about it."""
    if task is None:
        return f"What is {book.dice.randint(11, 99)} plus {book.dice.randint(11, 99)}?"
    a, b = (int(word) for word in task.rstrip("?").split() if word.isdigit())
    right = book.dice.random() < skill
    near = book.dice.random() < 0.5
    said = (
        f"<calc>{a} + {b}</calc>" if right
        else f"<calc>{a} - {b}</calc>" if near else f"The answer is about {a + b + 7}."
    )  # fmt: skip
    short = round(0.02 if len(said) < 24 else 0.0, 3)
    value = (1.0 if right else 0.0) + short
    return Did(
        spans=(
            _call(book, prompt("Answer with one calculator call.", task), said),
            _tool("calculate", f"{a} {'+' if right else '-'} {b}", str(a + b if right else a - b)),
        )
        if right or near
        else (_call(book, prompt("Answer with one calculator call.", task), said),),
        result=str(a + b if right else a - b if near else "null"),
        reward=value,
        dimensions=(("right", float(right)), ("short", short)),
    )


def supports(book: Book, task: Any, skill: float) -> Any:
    """A question of a customer (task None), or what the agent did about it."""
    if task is None:
        number, item = book.dice.randint(1000, 9999), book.dice.choice(_ITEMS)
        return f"Where is my order {number}? I ordered a {item} last week and it is still not here."
    number = next(word.rstrip("?") for word in task.split() if word.rstrip("?").isdigit())
    right = book.dice.random() < skill
    kind = 0.7 + 0.3 * book.dice.random() * skill
    system = "You answer customers of a shop. Look orders up before you answer. Be short."
    ask = json.dumps(
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": "order", "arguments": json.dumps({"number": number})}}]}
    )  # fmt: skip
    found = json.dumps({"order": number, "state": "shipped", "arrives": "Thursday"})
    answer = (
        f"Order {number} has left our warehouse and arrives on Thursday. I am sorry for the wait!"
        if right
        else "I understand your frustration. Please contact our support team for further help."
    )
    first = prompt(system, task)
    later = [*first, json.loads(ask), {"role": "tool", "tool_call_id": "call_1", "content": found}]
    return Did(
        spans=(
            _call(book, first, ask),
            _tool("order", json.dumps({"number": number}), found),
            _call(book, later, answer),
        ),
        result=answer,
        reward=round((0.8 if right else 0.0) + 0.2 * kind, 3),
        dimensions=(("solved", float(right)), ("kind", round(kind, 3))),
    )


def prompt(system: str, task: str) -> list[dict[str, Any]]:
    """The messages that a call begins with."""
    return [{"role": "system", "content": system}, {"role": "user", "content": task}]


def _call(book: Book, messages: list[dict[str, Any]], output: str) -> dict[str, Any]:
    ids = _tokens(book, output)
    drawn = [book.dice.random() ** 6 * -7 for _ in ids]
    return {
        "span_id": f"{book.dice.getrandbits(64):016x}", "kind": "call", "name": "chat",
        "input": json.dumps(messages), "output": output, "finish_reason": "stop",
        "prompt_ids": list(range(40 + sum(len(str(one["content"])) // 4 for one in messages))),
        "sampled_ids": ids, "logprobs": drawn,
    }  # fmt: skip


def _tool(name: str, given: str, found: str) -> dict[str, Any]:
    return {
        "span_id": sha256(f"{name} {given}".encode()).hexdigest()[:16], "kind": "tool",
        "name": name, "input": given, "output": found,
    }  # fmt: skip


def _tokens(book: Book, text: str) -> list[int]:
    """A text as tokens: short pieces, each with an id of its own."""
    ids = []
    for piece in _PIECE.findall(text):
        number = int.from_bytes(sha256(piece.encode()).digest()[:4]) % 49_000
        while book.vocabulary.setdefault(number, piece) != piece:
            number += 1
        ids.append(number)
    return ids
