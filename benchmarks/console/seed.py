"""Tables as ten minutes of training would leave them, for pictures, benchmarks and tests.

Two policies learn (`agents`). All is a function of the number of episodes, so that two fills are
the same.
"""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from benchmarks.console.agents import Did, calculates, prompt, supports
from benchmarks.console.book import BEGAN, Book, Rows, table_of

from headrace.connectors.clickhouse import ClickHouse
from headrace.schemas.ids import sample_id
from headrace.schemas.topics import Topic

__all__ = ["BEGAN", "VERSIONS", "Rows", "fill", "rows_of", "table_of"]
RULE = "exact_answer@3"
REPLAYED = "solved_only@1"
CREDIT = "uniform/grpo/uniform@1"
VERSIONS = 11
SIZE = 8
_EPISODE_MS = 240
_DROPS = ("stale", "off_branch", "memory")


def fill(
    client: ClickHouse, episodes: int = 2_000, told: Callable[[int], None] = lambda _: None
) -> None:
    """Insert about so many episodes, with their groups, samples, versions and letters.

    told: is called with how many episodes are in, now and then.
    """
    done = 0

    def insert(rows: Rows) -> None:
        nonlocal done
        for table, some in rows.items():
            client.insert_arrow(table, table_of(table, some))
        done += len(rows.get("episodes", ()))
        told(done)

    book = Book(taker=insert)
    _write(book, episodes)
    book.hand_over(0)


def rows_of(episodes: int) -> Rows:
    """The rows of every table."""
    book = Book()
    _write(book, episodes)
    return book.rows


def _write(book: Book, episodes: int) -> None:
    groups = max(1, episodes // SIZE // VERSIONS)
    for version in range(VERSIONS):
        _version(book, "calculator", version, calculates, groups * 3 // 4 or 1)
        if version % 2 == 0:
            _version(book, "support", version // 2, supports, groups // 3 or 1)
    for version in (0, VERSIONS - 1):
        _held_out(book, version, min(48, max(4, episodes // 40)))
    _unfinished(book)
    _mishaps(book)
    for policy in ("calculator", "support"):
        for number, text in sorted(book.vocabulary.items()):
            book.add("vocabulary", policy=policy, token_id=number, bytes=text)


def _version(book: Book, policy: str, version: int, agent: Any, groups: int) -> None:
    """A version is published, answers its groups, and the next one is made of them."""
    skill = 1 / (1 + math.exp(1.4 - 0.42 * version))
    made = []
    for _ in range(groups):
        made.append(_group(book, policy, version, agent, skill, split="train"))
        book.hand_over()
    _publish(book, policy, version, made, skill)


def _publish(book: Book, policy: str, version: int, groups: list[str], skill: float) -> None:
    noise = book.dice.uniform(-0.02, 0.02)
    metrics = {
        "reward": round(skill + noise, 4), "loss": round(-0.01 + noise, 5),
        "entropy": round(1.1 - 0.6 * skill + noise, 4), "kl_k3": round(0.002 + version * 4e-4, 5),
        "ess": round(0.97 - 0.004 * version, 4), "clip_fraction": round(0.03 + abs(noise), 4),
        "logp_gap": round(0.0041 + abs(noise) / 40, 5), "grad_norm": round(0.8 + noise * 9, 4),
        "staleness_mean": round(0.4 + abs(noise) * 8, 3), "seconds": round(11 + noise * 50, 2),
        "rows": float(len(groups) * 6), "dropped": float(len(groups)),
    }  # fmt: skip
    digest = sha256(f"{policy}@{version}".encode()).hexdigest()
    book.add(
        "policies", policy=policy, version=version, parent=version - 1, created_at=book.now,
        trainer=f"{policy}-trainer", uri=f"checkpoints/{policy}/{version}", content_hash=digest,
        weights_hash=digest, config_hash="9f2c4be07d11a6e5" * 4, base_model="smollm2-135m",
        base_hash="41d0" * 16, groups=groups if version else [], samples=len(groups) * 6,
        metrics=metrics if version else {}, log_time=book.now, offset=version,
        offsets=[{"topic": Topic.CREDITS, "partition": 0, "offset": version * 40}],
    )  # fmt: skip


def _group(book: Book, policy: str, version: int, agent: Any, skill: float, *, split: str) -> str:
    group, rollouts = book.id(), [book.id() for _ in range(SIZE)]
    task = agent(book, None, 0.0)
    done = [agent(book, task, skill) for _ in rollouts]
    rewards = [one.reward for one in done]
    mean = sum(rewards) / SIZE
    std = math.sqrt(sum((one - mean) ** 2 for one in rewards) / SIZE)
    outcome = "eval" if split == "eval" else "train" if std > 0 else "zero_advantage"
    members, samples = [], []
    for rollout, one in zip(rollouts, done, strict=True):
        advantage = (one.reward - mean) / std if std > 0 else 0.0
        attempt = _episode(book, policy, version, split, (group, rollout), task, one)
        members.append(_member(book, rollout, attempt, one, advantage, version))
        samples += _samples(rollout, attempt, policy, one, advantage, version, outcome)
    book.add(
        "groups", project="default", group_id=group, rule=RULE, credit=CREDIT, row_version=3,
        version=SIZE, state="final", group_size=SIZE, group_rollouts=rollouts, policy=policy,
        split=split, log_first=book.now - SIZE * _EPISODE_MS, log_last=book.now, outcome=outcome,
        baseline="group_mean", mean=mean, std=std, members=members, samples=samples,
        running={"policy": policy},
    )  # fmt: skip
    if policy == "support":
        _replayed(book)
    for sample in samples:
        _outcome(book, policy, version, group, sample, outcome)
    return group


def _replayed(book: Book) -> None:
    """The newest group under another rule: its first dimension alone."""
    group = book.rows["groups"][-1]
    rewards = [one["dimensions"][0]["value"] for one in group["members"]]
    mean = sum(rewards) / SIZE
    std = math.sqrt(sum((one - mean) ** 2 for one in rewards) / SIZE)
    members = [
        {**one, "reward": reward, "advantage": (reward - mean) / std if std > 0 else 0.0}
        for one, reward in zip(group["members"], rewards, strict=True)
    ]
    changed = {"rule": REPLAYED, "members": members, "samples": [], "mean": mean, "std": std}
    outcome = "train" if std > 0 else "zero_advantage"
    book.add("replays", **{**group, **changed, "outcome": outcome})


def _held_out(book: Book, version: int, tasks: int) -> None:
    """The same questions, asked of one version, each a group of one."""
    numbers = random.Random(11)
    skill = 1 / (1 + math.exp(1.4 - 0.42 * version))
    for _ in range(tasks):
        task = f"What is {numbers.randint(11, 99)} plus {numbers.randint(11, 99)}?"
        group = rollout = book.id()
        did = calculates(book, task, skill)
        attempt = _episode(book, "calculator", version, "eval", (group, rollout), task, did)
        samples = _samples(rollout, attempt, "calculator", did, 0.0, version, "eval")
        book.add(
            "groups", project="default", group_id=group, rule=RULE, credit=CREDIT, row_version=3,
            version=1, state="final", group_size=1, group_rollouts=[rollout], split="eval",
            policy="calculator", log_first=book.now - 100, log_last=book.now, outcome="eval",
            mean=did.reward, members=[_member(book, rollout, attempt, did, 0.0, version)],
            samples=samples,
        )  # fmt: skip
        for sample in samples:
            _outcome(book, "calculator", version, group, sample, "eval")


def _episode(
    book: Book,
    policy: str,
    version: int,
    split: str,
    ids: tuple[str, str],
    task: str,
    did: Did,
) -> str:
    group, rollout = ids
    attempt = book.id()
    key = {"project": "default", "rollout_id": rollout, "attempt": attempt}
    asked = json.dumps({"question": task})
    book.add(
        "tasks", project="default", rollout_id=rollout, group_id=group, group_size=SIZE,
        policy=policy, version=version if split == "eval" else -1, split=split, agent=policy,
        input=asked, expected=_expected(task), log_time=book.now,
    )  # fmt: skip
    clock = book.now * 1_000_000
    calls = [span for span in did.spans if span["kind"] == "call"]
    for number, span in enumerate(did.spans):
        began = clock + 90_000_000 * number
        book.add(
            "spans", **key, **span, policy=policy, agent=policy, log_time=book.now,
            started_at=began, ended_at=began + book.dice.randint(20, 88) * 1_000_000,
            partition=number % 8, offset=book.now // 7, ver=-(book.now // 7), has_content=True,
            run_versions=[version] if span["kind"] == "call" else [],
            run_lengths=[len(span["sampled_ids"])] if span["kind"] == "call" else [],
            group_id=group, split=split, temperature=1.0, top_p=1.0, status="ok",
            trainable=span["kind"] == "call", last_episode_batch=-1, model=policy,
            response_id=f"chatcmpl-{rollout[-8:]}{number}" if span["kind"] == "call" else "",
        )  # fmt: skip
    first = book.now
    book.now += book.dice.randint(_EPISODE_MS // 2, _EPISODE_MS * 3 // 2)
    book.add(
        "episodes", **key, version=2 * len(did.spans) + 1, state="closed", group_id=group,
        group_size=SIZE, policy=policy, split=split, n_spans=len(did.spans), closed_by="end",
        status="ok", complete=True, log_first=first, log_last=book.now, task_input=asked,
        expected=_expected(task), result=did.result, calls=len(calls),
        tools=sum(span["kind"] == "tool" for span in did.spans),
        prompt_tokens=sum(len(span["prompt_ids"]) for span in calls),
        completion_tokens=sum(len(span["sampled_ids"]) for span in calls),
        version_min=version, version_max=version,
        signals={"tool_errors": 1} if book.dice.random() < 0.03 else {},
    )  # fmt: skip
    return attempt


def _member(
    book: Book, rollout: str, attempt: str, did: Did, advantage: float, version: int
) -> dict[str, Any]:
    return {
        "rollout_id": rollout, "attempt": attempt, "episode_version": 2 * len(did.spans) + 1,
        "status": "used", "reward": did.reward, "advantage": advantage, "complete": True,
        "dimensions": [{"name": name, "value": value} for name, value in did.dimensions],
        "calls": sum(span["kind"] == "call" for span in did.spans), "log_time": book.now,
        "closed_status": "ok", "version_min": version, "version_max": version,
    }  # fmt: skip


def _samples(
    rollout: str,
    attempt: str,
    policy: str,
    did: Did,
    advantage: float,
    version: int,
    outcome: str,
) -> list[dict[str, Any]]:
    """One a call."""
    return [
        {
            "sample_id": sample_id(rollout, attempt, span["span_id"]), "rollout_id": rollout,
            "attempt": attempt, "agent": policy, "policy": policy, "advantage": advantage,
            "trainable": outcome == "train", "reason": "" if outcome == "train" else outcome,
            "version_min": version, "version_max": version, "tokens": len(span["sampled_ids"]),
            "reward": did.reward, "logprobs": span["logprobs"],
        }
        for span in did.spans
        if span["kind"] == "call"
    ]  # fmt: skip


def _outcome(
    book: Book, policy: str, version: int, group: str, sample: Mapping[str, Any], outcome: str
) -> None:
    if outcome != "eval" and version == VERSIONS - 1 and book.dice.random() < 0.5:
        return  # still pending
    reason = sample["reason"]
    if outcome == "train" and book.dice.random() < 0.04:
        reason = book.dice.choice(_DROPS)
    book.add(
        "outcomes", project="default", rollout_id=sample["rollout_id"],
        sample_id=sample["sample_id"], trainer=f"{policy}-trainer", group_id=group,
        outcome="dropped" if reason else "trained", attempt=sample["attempt"], agent=policy,
        policy=policy, reason=reason, step=-1 if reason else version + 1, version_min=version,
        version_max=version, staleness=book.dice.choice((0, 0, 0, 1, 1, 2)),
        advantage=sample["advantage"], reward=sample["reward"], tokens=sample["tokens"],
        rule=RULE, credit=CREDIT, credits_version=SIZE, decided_at=book.now, log_time=book.now,
        **({} if reason else _annotated(sample["logprobs"])),
    )  # fmt: skip


def _annotated(logprobs: Sequence[float]) -> dict[str, Any]:
    """What the trainer saw of each token: near what was sampled, and masked where it was not."""
    dice = random.Random(len(logprobs))
    gaps = [dice.gauss(0, 0.01) if dice.random() < 0.9 else dice.gauss(0, 0.4) for _ in logprobs]
    return {
        "token_logprobs": [min(0.0, p + gap) for p, gap in zip(logprobs, gaps, strict=True)],
        "token_entropies": [min(4.0, -0.6 * p * dice.random() + 0.02) for p in logprobs],
        "token_masked": [int(abs(gap) > 0.6) for gap in gaps],
        "logp_gap": sum(map(abs, gaps)) / max(1, len(gaps)),
    }


def _unfinished(book: Book) -> None:
    """Episodes that still run, one that misses a batch, one that failed."""
    endings = (("open", "", True), ("open", "", True), ("closed", "ok", False),
               ("closed", "error", True))  # fmt: skip
    for state, status, complete in endings:
        rollout, attempt = book.id(), book.id()
        book.now += _EPISODE_MS
        asked = json.dumps({"question": "What is 40 plus 2?"})
        book.add(
            "episodes", project="default", rollout_id=rollout, attempt=attempt, version=2,
            state=state, group_id=rollout, group_size=SIZE, policy="calculator", split="train",
            n_spans=1, status=status, complete=complete, missing_batches=0 if complete else 1,
            log_first=book.now, log_last=book.now, task_input=asked, expected="42", calls=1,
            version_min=VERSIONS - 1, version_max=VERSIONS - 1, prompt_tokens=61,
        )  # fmt: skip
        book.add(
            "spans", project="default", rollout_id=rollout, attempt=attempt, kind="call",
            name="chat", has_content=True, input=json.dumps(prompt("Be short.", "40 plus 2?")),
            status=status or "ok", started_at=book.now * 1_000_000, policy="calculator",
            ended_at=(book.now + 40) * 1_000_000, log_time=book.now, last_episode_batch=-1,
            output="connection reset" if status == "error" else "<calc>40 + 2</calc>",
            **{"span_id": f"{book.dice.getrandbits(64):016x}"},
        )  # fmt: skip
    for _ in range(6):
        book.add("tasks", project="default", rollout_id=book.id(), group_id="waiting",
                 group_size=SIZE, policy="calculator", version=-1, split="train",
                 agent="calculator", input=json.dumps({"question": "What is 7 plus 8?"}),
                 expected="15", log_time=book.now)  # fmt: skip


def _mishaps(book: Book) -> None:
    for offset in (118_203, 118_377):
        book.add(
            "dead_letters", topic=Topic.SPANS, partition=3, offset=offset, stage="assemble",
            reason="malformed", message="the batch ends within its column `logprobs`",
            size=4_096, log_time=book.now,
        )  # fmt: skip
    book.add(
        "drops", stage="sink", consumer_group="headrace.sink", topic=Topic.OUTCOMES,
        partition=1, first_offset=400, last_offset=431, reason="log_lost", log_time=book.now,
        detail="the log begins at 432 now",
    )  # fmt: skip


def _expected(task: str) -> str:
    numbers = [int(word) for word in task.rstrip("?").split() if word.isdigit()]
    return str(sum(numbers)) if " plus " in task else ""
