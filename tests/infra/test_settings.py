"""Settings: file, environment, overrides, and what is refused."""

from pathlib import Path

import pytest

from headrace.infra.errors import SettingsError
from headrace.infra.settings import Settings, load


def write(directory: Path, text: str) -> Path:
    file = directory / "headrace.toml"
    file.write_text(text)
    return file


def test_the_environment_overrides_the_file_and_overrides_win(tmp_path: Path) -> None:
    file = write(tmp_path, "[kafka]\nport = 1111\npartitions = 3\n[policy]\nname = 'a'\n")
    loaded = load(
        file,
        environment={"HEADRACE_KAFKA_PORT": "2222", "HEADRACE_POLICY_NAME": "b"},
        overrides={"policy": {"name": "c"}},
    )
    assert (loaded.kafka.port, loaded.kafka.partitions, loaded.policy.name) == (2222, 3, "c")


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("[gateway]\ndtype = 'float32'\n", "HEADRACE_GATEWAY_DTYPE"),
        ("[trainer]\ncompute_dtype = 'float32'\n", "HEADRACE_TRAINER_COMPUTE_DTYPE"),
    ],
)
def test_a_renamed_key_is_refused_with_the_new_ones_name(
    tmp_path: Path, text: str, variable: str
) -> None:
    renamed = r"is now \[policy\] dtype \(HEADRACE_POLICY_DTYPE\)"
    with pytest.raises(SettingsError, match=renamed):
        load(write(tmp_path, text), environment={})
    with pytest.raises(SettingsError, match=renamed):
        load(environment={variable: "float32"})


def test_without_a_file_the_defaults_point_at_the_embedded_parts(tmp_path: Path) -> None:
    defaults = Settings()
    assert defaults.bootstrap == "127.0.0.1:9092"
    assert defaults.registry_url == "http://127.0.0.1:8081/apis/ccompat/v7"
    assert defaults.clickhouse_url == "http://127.0.0.1:8123"
    assert defaults.gateway_url == "http://127.0.0.1:8000"


def test_servers_of_yours_take_the_place_of_the_embedded_ones(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "[kafka]\nbootstrap = 'k:9'\n[registry]\nurl = 'http://r'\n[clickhouse]\nurl='http://c'",
    )
    loaded = load(file, environment={})
    assert (loaded.bootstrap, loaded.registry_url, loaded.clickhouse_url) == (
        "k:9",
        "http://r",
        "http://c",
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[kafak]\nport = 1\n", "kafak"),
        ("[kafka]\nprot = 1\n", "prot"),
        ("[kafka]\nport = 'nine'\n", "port"),
        ("[trainer]\nlearning_rate = 'fast'\n", "learning_rate"),
        ("port = 1\n", "port"),
        ("[kafka\n", "headrace.toml"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(write(tmp_path, text), environment={})


def test_a_trainer_that_cannot_read_what_the_engine_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[trainer\] token_budget is 2048, and .* 4096"):
        load(write(tmp_path, "[policy]\nmax_sequence = 4096\n"), environment={})
    both = "[policy]\nmax_sequence = 4096\n[trainer]\ntoken_budget = 4096\n"
    assert load(write(tmp_path, both), environment={}).trainer.token_budget == 4096


def test_a_variable_of_the_wrong_type_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[gateway\] port .*HEADRACE_GATEWAY_PORT"):
        load(write(tmp_path, ""), environment={"HEADRACE_GATEWAY_PORT": "many"})


def test_a_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent"):
        load(tmp_path / "absent.toml", environment={})


def test_processes_get_every_setting_and_the_resolved_addresses() -> None:
    environment = load(None, environment={}).environment()
    assert environment["HEADRACE_KAFKA_BOOTSTRAP"] == "127.0.0.1:9092"
    assert environment["HEADRACE_CREDIT_BASELINE"] == "grpo"
    assert environment["HEADRACE_GATEWAY_URL"] == "http://127.0.0.1:8000"


def test_secrets_do_not_show(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "[clickhouse]\npassword = 'hush'\n"), environment={})
    assert loaded.clickhouse.password == "hush"
    assert "hush" not in repr(loaded)


def test_a_section_of_names_is_of_the_file_and_of_a_variable_with_json(tmp_path: Path) -> None:
    file = write(tmp_path, "[policies]\nwriter = 'smollm2'\n\"a.b:c\" = '/m'\n")
    loaded = load(file, environment={"HEADRACE_POLICIES": '{"writer": "/other"}'})
    assert loaded.models == {"assistant": "smollm2", "writer": "/other", "a.b:c": "/m"}
    told = loaded.environment()
    assert load(environment=told).policies == loaded.policies


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[policies]\n\"a@1\" = 'smollm2'\n", r"\[policies\] a@1 \(.*headrace.toml\) is 'a@1'"),
        ("[policies]\nwriter = ''\n", r"\[policies\] writer \(.*\) is empty"),
        ("[policies]\nwriter = 3\n", r"\[policies\] writer \(.*\) is 3: give text"),
        (
            "[agents]\nwriter = 'nobody'\n",
            r"\[agents\] writer .*is .nobody..*one of assistant",
        ),
        ("[policies]\nassistant = 'smollm2'\n", r"\[policies\] assistant .*default policy's name"),
    ],
)
def test_a_further_policy_that_cannot_be_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(write(tmp_path, text), environment={})


@pytest.mark.parametrize("value", ["writer=smollm2", "[1]"])
def test_a_variable_of_names_that_is_no_object_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"\[policies\] \(HEADRACE_POLICIES\) is .*JSON object"):
        load(environment={"HEADRACE_POLICIES": value})
