"""Each page over some hundred episodes: three forms, and figures that are those of the tables."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator

import pytest
from benchmarks.console import seed
from scipy.stats import binomtest
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.app import ITEMS, LISTS, application
from headrace.infra.paired import paired
from tests.console.conftest import addresses_of

LAST = seed.VERSIONS - 1


@pytest.fixture(scope="module")
def page(seeded: ClickHouse) -> Iterator[TestClient]:
    with TestClient(application(seeded), base_url="http://127.0.0.1:8090") as client:
        yield client


@pytest.fixture(scope="module")
def episode(seeded: ClickHouse) -> dict[str, object]:
    (row,) = seeded.query(
        "SELECT project, rollout_id AS rollout, attempt, group_id AS group, policy, version_max AS "
        "version FROM episodes FINAL WHERE policy = 'support' ORDER BY log_last DESC LIMIT 1"
    )
    return row


@pytest.mark.parametrize("name", LISTS)
def test_every_list_answers_in_three_forms(page: TestClient, name: str) -> None:
    assert page.get(f"/{name}").status_code == 200
    tables = page.get(f"/{name}.json").json()
    rows = list(csv.DictReader(io.StringIO(page.get(f"/{name}.csv").text)))
    assert len(rows) == len(next(iter(tables.values()))) > 0


@pytest.mark.parametrize("number", range(len(ITEMS)))
def test_every_page_of_one_thing_answers_in_three_forms(
    seeded: ClickHouse, page: TestClient, number: int
) -> None:
    address = addresses_of(seeded)[number]
    text = page.get(address).text
    assert f'href="/json{address}"' in text
    tables = page.get(f"/json{address}").json()
    rows = list(csv.DictReader(io.StringIO(page.get(f"/csv{address}").text)))
    assert len(rows) == len(next(iter(tables.values()))) > 0


def test_the_next_older_and_newer_episode_keep_the_filter(page: TestClient) -> None:
    first, second, third = page.get("/episodes.json?policy=support").json()["episodes"][:3]
    text = page.get(
        f"/episodes/default/{second['rollout_id']}/{second['attempt']}?policy=support"
    ).text
    for side, row in (("prev", first), ("next", third)):
        place = f"/episodes/default/{row['rollout_id']}/{row['attempt']}"
        assert f'rel="{side}" href="{place}?policy=support"' in text


def test_two_versions_are_compared_by_the_demos_own_test(page: TestClient) -> None:
    pairs = page.get(f"/compare.json?policy=calculator&a=0&b={LAST}").json()["compared"]
    tested = paired(
        [row["reward_a"] >= 1 for row in pairs], [row["reward_b"] >= 1 for row in pairs]
    )
    changed = tested.better + tested.worse
    expected = binomtest(tested.better, changed, 0.5, alternative="greater").pvalue
    assert tested.p_value == pytest.approx(expected)
    text = page.get(f"/compare?policy=calculator&a=0&b={LAST}").text
    assert f"{tested.p_value:.2g}" in text
    assert f"{tested.better} : {tested.worse}" in text
    flips = page.get(f"/compare?policy=calculator&a=0&b={LAST}&only=flips").text
    assert flips.count("<article>") == changed
    marked = re.findall(r"<mark>([^<]*)</mark>", flips)
    assert "+" in marked  # where version 0 subtracted
    assert "calc" not in marked


def test_a_version_shows_what_it_was_trained_on_and_where_it_comes_from(
    seeded: ClickHouse, page: TestClient
) -> None:
    tables = page.get("/json/policies/calculator/3").json()
    (asked,) = seeded.query(
        "SELECT count() AS n FROM outcomes FINAL "
        "WHERE policy = 'calculator' AND step = 3 AND outcome = 'trained'"
    )
    assert asked["n"]
    assert sum(row["samples"] for row in tables["trained_on"]) == asked["n"]
    assert [row["version"] for row in tables["ancestors"]] == [3, 2, 1, 0]
    assert all(row["revised"] == "" for row in tables["trained_on"])


def test_every_rollout_is_in_the_ledger_once(seeded: ClickHouse, page: TestClient) -> None:
    tables = page.get("/ledger.json").json()["balance"]
    rollouts = sum(row["rollouts"] for row in tables)
    (asked,) = seeded.query("SELECT uniqExact(rollout_id) AS n FROM tasks")
    assert rollouts == asked["n"]
    held_out = [row for row in tables if row["split"] == "eval"]
    assert {row["state"] for row in held_out} == {"evaluated"}
    chosen = page.get("/ledger.json?reason=stale").json()["dropped"]
    assert {row["reason"] for row in chosen} == {"stale"}


def test_each_rollout_is_listed_once_with_its_state_and_filters_are_heeded(
    seeded: ClickHouse, page: TestClient
) -> None:
    listed, query = [], "policy=calculator"
    while query:
        listed += page.get(f"/rollouts.json?{query}").json()["rollouts"]
        text = page.get(f"/rollouts?{query}").text
        after = text.partition('">Older<')[0].rpartition('href="/rollouts?')
        query = html.unescape(after[2]) if '">Older<' in text else ""
    ids = [row["rollout_id"] for row in listed]
    (asked,) = seeded.query(
        "SELECT uniqExact(rollout_id) AS n FROM rollouts WHERE policy = 'calculator'"
    )
    assert len(ids) == len(set(ids)) == asked["n"]
    assert [row["at"] for row in listed] == sorted((row["at"] for row in listed), reverse=True)
    (open_ones,) = [
        row["rollouts"]
        for row in page.get("/ledger.json").json()["balance"]
        if (row["policy"], row["split"], row["state"]) == ("calculator", "train", "asked")
    ]
    text = page.get("/rollouts?policy=calculator&split=train&state=asked").text
    assert text.count("no runner has taken it") == open_ones > 0
    assert "not started</a>" in page.get("/ledger").text


def test_an_answer_leads_to_its_episode(
    seeded: ClickHouse, page: TestClient, episode: dict[str, object]
) -> None:
    (call,) = seeded.query(
        "SELECT response_id, span_id FROM spans FINAL WHERE rollout_id = {r:String} "
        "AND kind = 'call' LIMIT 1",
        {"r": episode["rollout"]},
    )
    answer = page.get(f"/r/{call['response_id']}", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].endswith(
        f"/{episode['rollout']}/{episode['attempt']}?span={call['span_id']}#span-{call['span_id']}"
    )
    assert page.get("/r/nobody-said-this").status_code == 404


def test_tokens_are_coloured_by_the_advantage_of_their_call(
    seeded: ClickHouse, page: TestClient
) -> None:
    for sign, colour in ((1, "g"), (-1, "l")):
        (row,) = seeded.query(
            "SELECT project, rollout_id, attempt FROM outcomes FINAL "
            "WHERE outcome = 'trained' AND advantage * {sign:Int8} > 0.5 LIMIT 1",
            {"sign": sign},
        )
        place = f"/episodes/{row['project']}/{row['rollout_id']}/{row['attempt']}"
        text = page.get(f"{place}?colour=advantage").text
        assert re.search(f'<span class="{colour}[23]" title="token ', text)


def test_tokens_joined_are_what_the_model_said_and_show_what_the_trainer_saw(
    seeded: ClickHouse, page: TestClient
) -> None:
    (row,) = seeded.query(
        "SELECT project, rollout_id, attempt FROM outcomes FINAL "
        "WHERE outcome = 'trained' AND policy = 'support' ORDER BY sample_id LIMIT 1"
    )
    place = f"/episodes/{row['project']}/{row['rollout_id']}/{row['attempt']}"
    said = {
        one["span_id"]: one["output"]
        for one in page.get(f"/json{place}").json()["spans"]
        if one["kind"] == "call"
    }
    text = page.get(f"{place}?colour=gap").text
    for output in said.values():
        drawn = re.sub(r"<[^>]+>", "", text)
        assert output in html.unescape(drawn)
    tokens = [
        html.unescape("".join(re.findall(r"<span[^>]*>([^<]*)</span>", one)))
        for one in re.findall(r'<p class="tokens"[^>]*>(.*?)</p>', text, re.DOTALL)
    ]
    assert sorted(tokens) == sorted(said.values())
    assert "what the trainer made of it" in text
    assert re.search(r"trainer&#39;s -?[\d.e-]+, gap", text)
