"""What the policy log means for a policy's name."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.policy.versions import PolicyBook, located, split_model
from headrace.schemas import PolicyRecord, PolicyVersion, PrunedVersion, Traffic

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness


def published(version: int, policy: str = "calc", uri: str = "") -> PolicyRecord:
    return PolicyRecord(version=PolicyVersion(policy=policy, version=version, uri=uri))


def pinned(version: int) -> PolicyRecord:
    return PolicyRecord(traffic=Traffic(policy="calc", version=version))


def target(*records: PolicyRecord) -> int | None:
    book = PolicyBook("calc")
    book.take(records)
    return None if book.target is None else book.target.version


def test_the_name_follows_the_newest_version_unless_traffic_names_one() -> None:
    assert target() is None
    assert target(published(0)) == 0
    assert target(published(0), published(1)) == 1
    assert target(published(0), published(1), pinned(0)) == 0
    assert target(published(0), published(1), pinned(0), published(2)) == 0
    assert target(published(0), published(1), pinned(0), pinned(-1)) == 1


def test_a_pin_to_an_unpublished_version_waits_for_it() -> None:
    book = PolicyBook("calc")
    book.take([published(0), pinned(3)])
    assert book.target is None
    assert "version 3" in book.awaited
    book.take([published(3)])
    assert book.target is not None


def test_other_policies_change_nothing() -> None:
    assert target(published(0), published(9, policy="other")) == 0


def test_a_pruned_version_is_known_as_such_and_pinned_no_more() -> None:
    book = PolicyBook("calc")
    gone = PolicyRecord(pruned=PrunedVersion(policy="calc", version=1))
    records = [published(0), published(1), published(2), gone]
    book.take(records)
    book.take([PolicyRecord(pruned=PrunedVersion(policy="other", version=2)), *records])
    assert (sorted(book.versions), book.pruned) == ([0, 2], {1})


def test_weights_are_found_where_the_data_directory_lies_now(tmp_path: Path) -> None:
    moved = tmp_path / "now" / "checkpoints"
    (moved / "calc" / "000003-ab").mkdir(parents=True)
    written = tmp_path / "before" / "checkpoints" / "calc" / "000003-ab"
    assert located(str(written), moved) == moved / "calc" / "000003-ab"
    assert located(str(written.with_name("000004-cd")), moved) == written.with_name("000004-cd")
    assert located(str(written), None) == written


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_compaction_and_rereading_do_not_change_the_target(versions: list[int]) -> None:
    records = [published(version) for version in versions]
    assert target(*records) == target(*records, *records) == max(versions)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("calc", ("calc", None)),
        ("calc@7", ("calc", 7)),
        ("calc@0", ("calc", 0)),
        ("calc@07", ("calc@07", None)),
        ("calc@-1", ("calc@-1", None)),
        ("calc@", ("calc@", None)),
        ("a@b@3", ("a@b", 3)),
        ("@3", ("@3", None)),
    ],
)
def test_a_model_name_pins_a_version_behind_an_at_sign(
    model: str, expected: tuple[str, int | None]
) -> None:
    assert split_model(model) == expected


def test_versions_of_a_start_are_not_all_loaded(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway().serve(0, 1, 2)
    assert gateway.engine.loads == [(2, "/weights/2")]


def test_a_new_version_is_loaded_and_traffic_rolls_back_without_reading_it_again(
    gateway: "Harness",
) -> None:
    gateway.serve(1)
    gateway.set_traffic(0)
    gateway.wait_until(lambda: gateway.serving.served == 0, "version 0 served")
    assert gateway.engine.current == 0
    assert [version for version, _ in gateway.engine.loads] == [0, 1]


def test_weights_that_cannot_be_loaded_leave_the_old_ones_serving_until_they_can(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(retry_s=0.01).serve(0)
    gateway.engine.bad_directories.add("/weights/1")
    gateway.publish(1)
    gateway.wait_until(lambda: gateway.serving.load_failures >= 2, "two failed loads")
    assert gateway.chat().json()["system_fingerprint"] == "calc@0"
    health = gateway.get("/healthz")
    assert health.status_code == 200
    assert "/weights/1 holds no weights" in health.json()["waiting_for"]
    gateway.engine.bad_directories.clear()
    gateway.wait_until(lambda: gateway.serving.served == 1, "version 1 served")
    assert gateway.get("/healthz").json()["waiting_for"] == ""


def test_a_version_published_anew_from_elsewhere_is_loaded_anew(gateway: "Harness") -> None:
    gateway.publish(0, uri="/elsewhere/{}")
    gateway.wait_until(lambda: gateway.engine.loads[-1] == (0, "/elsewhere/0"), "the load")


def test_a_log_that_is_read_anew_replaces_what_was_known(gateway: "Harness") -> None:
    gateway.serve(1)
    gateway.call(gateway.serving.start, [published(0, uri="/weights/0")])
    gateway.wait_until(lambda: gateway.serving.served == 0, "version 0 served")
    assert gateway.serving.versions == (0,)


def test_a_rollout_begins_on_the_newest_version_while_other_calls_go_on_with_the_old(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway().serve(0)
    gateway.engine.hold_load = asyncio.Event()
    gateway.publish(1)
    gateway.wait_until(lambda: gateway.serving.waiting_for != "", "a wait for weights")
    path = "/rollout/r/attempt/a/v1/chat/completions"
    request = {"model": "calc", "messages": [{"role": "user", "content": "1+2"}]}
    rollout = gateway.start(gateway.asend(path, method="POST", json=request))

    assert gateway.chat().json()["system_fingerprint"] == "calc@0"
    assert not rollout.done()
    gateway.call(gateway.engine.hold_load.set)
    assert rollout.result(10).json()["system_fingerprint"] == "calc@1"


def test_a_rollout_does_not_wait_for_weights_that_cannot_be_loaded(
    make_gateway: "Callable[..., Harness]",
) -> None:
    gateway = make_gateway(retry_s=0.01).serve(0)
    gateway.engine.bad_directories.add("/weights/1")
    gateway.publish(1)
    gateway.wait_until(lambda: gateway.serving.load_failures >= 1, "a failed load")

    answer = gateway.chat("/rollout/r/attempt/a/v1/chat/completions")
    assert answer.json()["system_fingerprint"] == "calc@0"


def test_an_engine_of_one_version_answers_no_pin_of_another(gateway: "Harness") -> None:
    gateway.engine.max_versions = 1
    gateway.serve(1)
    loads = list(gateway.engine.loads)
    assert gateway.chat(model="calc@1").status_code == 200
    refused = gateway.chat(model="calc@0")
    assert refused.status_code == 404
    assert "calc@1" in refused.text
    assert gateway.engine.loads == loads, "a pin changed the weights for everybody"
