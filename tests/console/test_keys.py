"""Who may look: keys, their roles, and names that the console answers to."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.infra.console.app import LISTS, application
from headrace.infra.console.gate import COOKIE, own_names
from headrace.infra.console.keys import Door, KeyFile, door_of
from headrace.infra.console.roles import Role, Visitor
from headrace.infra.errors import SettingsError
from headrace.infra.settings import load
from tests.console.conftest import addresses_of

HERE = "http://127.0.0.1:8090"
Client = Callable[[Role | None], TestClient]


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def client_of(seeded: ClickHouse, file: KeyFile) -> Iterator[Client]:
    """A client that sends a key of a role, of a console that has keys; None: it sends none."""
    keys = {role: file.add(f"a-{role}", role) for role in Role}
    app = application(seeded, door=Door(file, is_open=True))
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:

        def made(role: Role | None) -> TestClient:
            client.headers = {"authorization": f"Bearer {keys[role]}"} if role else {}
            return client

        yield made


def pages_of(seeded: ClickHouse) -> list[str]:
    return [*(f"/{name}" for name in LISTS), "/", *addresses_of(seeded)]


def test_a_key_is_told_once_and_its_digest_is_kept_for_its_user_alone(file: KeyFile) -> None:
    key = file.add("ann", Role.VIEWER)
    text = file.path.read_text()
    assert key not in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [(one.name, one.role) for one in file.holders()] == [("ann", Role.VIEWER)]
    visitor = Door(file, is_open=False).visitor(key)
    assert visitor is not None
    assert (visitor.name, visitor.role) == ("ann", Role.VIEWER)
    with pytest.raises(SettingsError, match="a key ann already"):
        file.add("ann", Role.SQL)
    with pytest.raises(SettingsError, match="cannot be the name"):
        file.add("ann/../x", Role.SQL)


def test_keys_that_are_added_at_once_are_all_kept(file: KeyFile) -> None:
    names = [f"key{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: KeyFile(file.path).add(name, Role.VIEWER), names))
    assert sorted(one.name for one in file.holders()) == names


def test_a_file_that_could_not_be_read_is_read_again(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = file.add("ann", Role.VIEWER)
    door = Door(file, is_open=False)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_text", Mock(side_effect=OSError(24, "too many open files")))
        assert door.visitor(key) is None
    assert door.visitor(key) == Visitor(name="ann", role=Role.VIEWER)
    kept = file.path.rename(file.path.with_name("kept"))
    file.path.write_text("junk")
    assert door.visitor(key) is None
    kept.rename(file.path)  # the very file that was read before
    assert door.visitor(key) == Visitor(name="ann", role=Role.VIEWER)


def test_a_door_heeds_keys_from_the_moment_they_are_there(file: KeyFile) -> None:
    door = Door(file, is_open=True)
    assert door.visitor("") is not None
    key = file.add("ann", Role.VIEWER)
    assert door.visitor("") is None
    assert door.visitor(key) is not None
    file.add("bob", Role.SQL)
    assert file.remove("ann")
    assert not file.remove("ann")
    assert door.visitor(key) is None


@pytest.mark.parametrize("text", ["", "[1]", "{}x", '[{"name": "a", "role": "king"}]'])
def test_a_file_that_is_none_of_ours_lets_nobody_in(file: KeyFile, text: str) -> None:
    file.path.write_text(text)
    with pytest.raises(SettingsError, match="holds no keys of the console"):
        file.holders()
    assert Door(file, is_open=True).visitor("") is None


def test_each_role_opens_what_those_before_it_open() -> None:
    opened = {role: {one for one in Role if role.opens(one)} for role in Role}
    assert list(map(len, opened.values())) == [1, 2, 3, 4]
    assert opened[Role.METRICS] < opened[Role.VIEWER] < opened[Role.ANNOTATOR] < opened[Role.SQL]


def test_without_a_key_there_is_the_login_and_nothing_else(
    client_of: Client, seeded: ClickHouse
) -> None:
    client = client_of(None)
    for path in pages_of(seeded):
        assert client.get(path).status_code == 401
        person = client.get(path, headers={"accept": "text/html"})
        assert person.status_code == 303
        assert person.headers["location"].startswith("/login?to=/")
    assert client.get("/events").status_code == 401
    assert client.post("/sql/cancel", data={"id": "x"}).status_code == 401
    assert client.get("/healthz").text == "ok\n"
    text = client.get("/login").text
    assert "/episodes" not in text  # no navigation
    wrong = {"authorization": "Bearer nonsense"}
    assert client.get("/episodes.json", headers=wrong).status_code == 401


@pytest.mark.parametrize("role", Role)
def test_a_role_sees_its_pages_and_no_other(
    client_of: Client, seeded: ClickHouse, role: Role
) -> None:
    client = client_of(role)
    figures = ("/overview", "/policies", "/ledger", "/streams")
    for path in pages_of(seeded):
        needs = (
            Role.METRICS if path == "/" or path.startswith(figures)
            else Role.SQL if path == "/sql" else Role.VIEWER
        )  # fmt: skip
        assert client.get(path).status_code == (200 if role.opens(needs) else 403), path
        if not role.opens(needs):
            for form in ("json", "csv"):
                assert client.get(f"{path}.{form}").status_code in (403, 404), path
                assert client.get(f"/{form}{path}").status_code in (403, 404), path
            forms = {client.get(f"{path}.json").status_code, client.get(f"/json{path}").status_code}
            assert 403 in forms, path
    text = client.get("/").text
    assert ('href="/episodes"' in text.partition("</nav>")[0]) == role.opens(Role.VIEWER)
    assert f"a-{role} · {role}" in text
    ended = client.post("/sql/cancel", data={"id": "x"}).status_code
    assert ended == (400 if role is Role.SQL else 403)
    taken = client.get("/sql.parquet", params={"q": "SELECT 1 AS one"}).status_code
    assert taken == (200 if role is Role.SQL else 403)
    assert client.get("/r/nobody").status_code == (404 if role.opens(Role.VIEWER) else 403)


def test_figures_hold_no_texts(client_of: Client, seeded: ClickHouse) -> None:
    client = client_of(Role.METRICS)
    said = ("the batch ends within its column", "the log begins at 432 now")
    for path in ("/streams", "/streams.json", "/streams.csv", "/", "/ledger", "/ledger.json"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert not any(text in answer.text for text in said)
    assert "malformed" in client.get("/streams").text
    viewer = client_of(Role.VIEWER).get("/streams").text
    assert all(text in viewer for text in said)


def test_a_person_logs_in_with_a_cookie_that_no_script_and_no_other_site_has(
    seeded: ClickHouse, file: KeyFile
) -> None:
    key = file.add("ann", Role.VIEWER)
    app = application(seeded, door=Door(file, is_open=True))
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        refused = client.post("/login", data={"key": "wrong", "to": "/groups"})
        assert refused.status_code == 401
        assert 'role="alert"' in refused.text
        assert COOKIE not in refused.headers.get("set-cookie", "")
        answer = client.post("/login", data={"key": f" {key}\n", "to": "/groups?policy=support"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/groups?policy=support")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie  # over http no browser would send it back
        assert client.get("/groups").status_code == 200
        assert key not in client.get("/groups").text
        client.post("/logout")
        assert client.get("/groups").status_code == 401
        foreign = {"origin": "https://evil.example"}
        given = client.post("/login", data={"key": key}, headers=foreign)
        assert given.status_code == 403
        behind_tls = {"origin": HERE.replace("http:", "https:")}
        again = client.post("/login", data={"key": key}, headers=behind_tls)
        assert "secure" in again.headers["set-cookie"].lower()


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/\\evil.example", ""])
def test_the_login_leads_to_pages_of_the_console_alone(
    seeded: ClickHouse, file: KeyFile, to: str
) -> None:
    key = file.add("ann", Role.VIEWER)
    app = application(seeded, door=Door(file, is_open=True))
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        answer = client.post("/login", data={"key": key, "to": to})
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "told", [{"host": "0.0.0.0"}, {"host": "::"}, {"names": "console.example.org"}]
)
def test_where_others_reach_it_there_is_no_start_without_keys(
    tmp_path: Path, told: dict[str, Any]
) -> None:
    settings = load(
        environment={"HEADRACE_DATA_DIRECTORY": str(tmp_path)}, overrides={"console": told}
    )
    with pytest.raises(SettingsError, match="`headrace console keys add NAME --role viewer`"):
        door_of(settings)
    file = KeyFile(settings.console_keys)
    key = file.add("ann", Role.VIEWER)
    door = door_of(settings)
    assert door.visitor(key) is not None
    file.remove("ann")
    assert door.visitor("") is None  # and not everybody


def test_beyond_loopback_it_answers_to_its_names_and_to_addresses(file: KeyFile) -> None:
    key = file.add("ann", Role.VIEWER)
    away = ClickHouse(ClickHouseConfig(url="http://127.0.0.1:1"))
    app = application(away, door=Door(file, is_open=False), ours=own_names(["Console.example.org"]))
    bearer = {"authorization": f"Bearer {key}"}
    with TestClient(app, base_url=HERE) as client:

        def status(host: str, **more: str) -> int:
            return client.get("/", headers={**bearer, "host": host, **more}).status_code

        answered = 503  # by the page, whose ClickHouse is away
        assert status("console.example.org") == answered
        assert status("console.example.org:8090") == answered
        assert status("192.0.2.7:8090") == answered
        assert status("[2001:db8::1]:8090") == answered
        assert status("localhost") == answered
        assert status("evil.example") == 403
        assert status("192.0.2.7.evil.example") == 403
        assert status("192.0.2.7", origin="https://evil.example") == 403
        posted = client.post(
            "/login",
            data={"key": key},
            headers={"host": "192.0.2.7:8090", "origin": "http://192.0.2.8:8090"},
        )
        assert posted.status_code == 403


def test_the_file_says_what_the_command_lists(file: KeyFile) -> None:
    file.add("ann", Role.METRICS)
    (entry,) = json.loads(file.path.read_text())
    assert (entry["name"], entry["role"], len(entry["sha256"])) == ("ann", "metrics", 64)
