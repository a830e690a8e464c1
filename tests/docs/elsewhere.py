"""What the pages tell to run and the walk (tests/e2e/walk.py) does not: why, and who runs it."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True, frozen=True)
class Elsewhere:
    """Commands that match `pattern` are run by `file`, which holds `proof`."""

    pattern: str
    file: str
    proof: str
    why: str


ELSEWHERE = (
    Elsewhere(
        pattern=r"make demo ALGORITHM=gspo",
        file="tests/docs/test_make_targets.py",
        proof="def test_the_demo_runs_by_the_algorithm_that_is_asked_for",
        why="the demo, with a variable that is read there; the algorithm is tested by itself",
    ),
    Elsewhere(
        pattern=r"headrace console( --open)?( --port 8091)?",
        file="tests/console/test_command.py",
        proof="def test_the_command_serves_pages_until_it_is_told_to_stop",
        why="run there, as a process that is stopped by a signal",
    ),
    Elsewhere(
        pattern=r"headrace console keys (add ann --role annotator|list|remove ann)",
        file="tests/console/test_command.py",
        proof="def test_keys_are_added_listed_and_taken_away",
        why="run there, on a data directory of their own",
    ),
    Elsewhere(
        pattern=r"make demo NAME=(text_to_sql|retrieval|calculator_autogen)",
        file="tests/frameworks/test_demos.py",
        proof="def test_an_agent_of_a_framework_is_trained_and_tested",
        why="run there, short, where the framework's environment is",
    ),
    Elsewhere(
        pattern=r"make demo NAME=recovery|headrace demo recovery .*",
        file="tests/e2e/test_learning_short.py",
        proof='main(["recovery", "--short"',
        why="run there, short, by the learning benchmark",
    ),
    Elsewhere(
        pattern=r"make demo NAME=drift",
        file="tests/e2e/test_drift_short.py",
        proof='"demo", "drift"',
        why="run there, short",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.learning\.run",
        file="tests/e2e/test_learning_short.py",
        proof='main(["recovery", "--short"',
        why="takes a quarter of an hour for a demo and a seed; run there, short",
    ),
    Elsewhere(
        pattern=r"headrace up --settings examples/text_to_sql/frozen_checker\.toml",
        file="tests/examples/test_demo_cases.py",
        proof="def test_other_settings_of_an_example_are_settings",
        why="read there: a checker that is frozen is run in tests/e2e/test_two_agents.py",
    ),
    Elsewhere(
        pattern=r"headrace dlq (list|(show|replay) \S+/3/1204|replay --all --topic \S+)",
        file="tests/integration/test_dead_letters_replayed.py",
        proof="def test_what_was_set_aside_is_listed_shown_and_sent_again",
        why="run there, on letters of records that never were",
    ),
    Elsewhere(
        pattern=r"headrace canary( +#.*)?",
        file="tests/integration/test_canary_verb.py",
        proof="def test_a_version_that_is_worse_is_rolled_back_once_and_never_tried_again",
        why="run there look by look, on versions whose rewards are made",
    ),
    Elsewhere(
        pattern=r"headrace traffic( --(version|share|newest).*)?( +#.*)?",
        file="tests/integration/test_traffic_verb.py",
        proof="def test_what_is_said_of_a_policy_s_traffic_stands",
        why="run there, on a policy whose versions are published",
    ),
    Elsewhere(
        pattern=r"headrace replay (--rules my_rules:short_and_right( --publish)?|--from 7d .*)",
        file="tests/integration/test_replay.py",
        proof="def test_published_credit_is_a_revision_that_is_sent_once",
        why="run there, beside a live stage whose results must stay",
    ),
    Elsewhere(
        pattern=r"headrace export transitions --parquet transitions\.parquet.*",
        file="tests/integration/test_transitions.py",
        proof="def test_an_export_is_a_file_of_whole_episodes",
        why="run there, on an episode whose transitions are known",
    ),
    Elsewhere(
        pattern=r"from headrace\.connectors\.clickhouse import .*Wanted.*",
        file="tests/integration/test_transitions.py",
        proof="def test_the_example_of_the_page_runs_and_prints_what_it_says",
        why="run there, on the page's own episode",
    ),
    Elsewhere(
        pattern=r"headrace rebuild --yes",
        file="tests/integration/test_rebuild.py",
        proof="def test_a_rebuild_that_is_killed_leaves_all_as_it_was_and_goes_on_to_equal_rows",
        why="run there, and killed",
    ),
    Elsewhere(
        pattern=r"python -m examples\.judges\.judge .*",
        file="tests/integration/test_judges.py",
        proof='"examples.judges.judge"',
        why="run there, against a judge that says what it is told to say",
    ),
    Elsewhere(
        pattern=r"make demo ALGORITHM=gspo",
        file="tests/docs/test_make_targets.py",
        proof="def test_a_target_runs_programs_that_are_there",
        why="trains a model; the walk runs the demo by one algorithm",
    ),
    Elsewhere(
        pattern=r"headrace bench (replay|transitions)",
        file="tests/infra/test_cli_bench.py",
        proof='"transitions"',
        why="minutes; the results are committed",
    ),
    Elsewhere(
        pattern=r"headrace audit( --json)?",
        file="tests/integration/test_audit.py",
        proof="def test_a_live_system_is_clean_and_what_is_lost_or_doubled_is_found",
        why="run there, with rows taken away and doubled",
    ),
    Elsewhere(
        pattern=r"headrace feedback (ROLLOUT/ATTEMPT|RESPONSE_ID) --name thumbs --value -1",
        file="tests/integration/test_feedback_revises.py",
        proof="def test_feedback_revises_reward_and_credit_though_the_workers_die",
        why="run there, with the workers killed under it",
    ),
    Elsewhere(
        pattern=r"headrace credit explain ROLLOUT/ATTEMPT( --json)?",
        file="tests/integration/test_credit_explained.py",
        proof="def test_an_episode_s_return_is_told_down_to_its_tokens",
        why="run there, on groups whose numbers are known",
    ),
    Elsewhere(
        pattern=r"from headrace\.connectors\.sdk import reward, span, tool\n.*",
        file="tests/connectors/instrument/test_instrument_lines.py",
        proof="def test_they_are_seen_under_headrace_run",
        why="run there, in all three places where an agent can be",
    ),
    Elsewhere(
        pattern=r"headrace run -- python agent\.py",
        file="tests/infra/test_cli_run.py",
        proof="def test_the_agent_runs_as_before",
        why="run there, with an agent of the test's",
    ),
    Elsewhere(
        pattern="make test",
        file=".ci/run",
        proof="make test",
        why="a test run cannot hold itself; a step of CI",
    ),
    Elsewhere(
        pattern=r"make test ONLY=.*",
        file="tests/docs/test_make_targets.py",
        proof="def test_make_test_can_be_told_some_folders",
        why="a test run cannot hold itself; what it would run is tested",
    ),
    Elsewhere(
        pattern="make check",
        file=".ci/run",
        proof="make check",
        why="minutes of mypy; a step of CI",
    ),
    Elsewhere(
        pattern="make setup",
        file="Makefile",
        proof="check: setup",
        why="fetches packages; CI's `make check` begins with it, on a clean checkout",
    ),
    Elsewhere(
        pattern="make unit",
        file=".ci/run",
        proof="make test",
        why="a test run cannot hold itself; CI's `make test` runs what it would and more",
    ),
    Elsewhere(
        pattern="make kernels TORCH=2.11",
        file=".ci/run",
        proof="make test",
        why="fetches another torch; the same tests on the pinned one are part of `make test`",
    ),
    Elsewhere(
        pattern="make demo ALGORITHM=gspo",
        file="tests/docs/test_make_targets.py",
        proof="def test_the_demo_runs_by_the_algorithm_that_is_asked_for",
        why="minutes of training; what it would run is tested, and the walk runs the demo",
    ),
    Elsewhere(
        pattern="make faults( SEED=1 KILLS=200)?",
        file="tests/integration/test_faults_short.py",
        proof="def test_nothing_is_lost_or_doubled_while_parts_are_killed",
        why="takes half an hour; a short form runs there",
    ),
    Elsewhere(
        pattern="make trl",
        file="Makefile",
        proof="pytest tests/examples/test_trl_grpo.py",
        why="fetches TRL, which nothing else here needs; `make test` skips that file and says so",
    ),
    Elsewhere(
        pattern="make peers",
        file="Makefile",
        proof="pytest tests/kernels/test_benchmark_peers.py",
        why="fetches the peers; `make test` skips them, each with its reason",
    ),
    Elsewhere(
        pattern="make vllm",
        file="Makefile",
        proof="pytest -s tests/connectors/engines/vllm_server",
        why="fetches vLLM and starts it, minutes; `make test` skips that file and says so",
    ),
    Elsewhere(
        pattern=r"python -m headrace\.connectors\.engines\.vllm\.serve.*",
        file="tests/connectors/engines/vllm_server/conftest.py",
        proof="headrace.connectors.engines.vllm",
        why="needs vLLM: `make vllm` starts it so",
    ),
    Elsewhere(
        pattern=r"make frameworks.*|make framework-loop",
        file=".ci/run",
        proof="make frameworks",
        why="fetches the frameworks; a step of CI",
    ),
    Elsewhere(
        pattern="make fmt",
        file="Makefile",
        proof="ruff format --check .",
        why="rewrites the tree; CI's `make check` runs both of its tools, the second with --check",
    ),
    Elsewhere(
        pattern="make lock",
        file="Makefile",
        proof="$(UV) pip install -q --no-deps -r requirements.txt",
        why="rewrites requirements.txt from the index; CI installs what it wrote",
    ),
    Elsewhere(
        pattern=r"pip install \.",
        file="tests/test_packaging.py",
        proof="WheelBuilder(",
        why="fetches from an index; what it would install is built and looked into there",
    ),
    Elsewhere(
        pattern=r"pip install '\.\[kernels\]'",
        file="tests/test_packaging.py",
        proof="WheelBuilder(",
        why="fetches torch; what it would install of ours is built and looked into there",
    ),
    Elsewhere(
        pattern=r"pip install --no-deps \.",
        file="tests/test_imports.py",
        proof='("headrace.kernels", BASE - {"torch"}',
        why="changes the environment; that the kernels import no other package is checked there",
    ),
    Elsewhere(
        pattern="uv pip check",
        file="docs/decisions.md",
        proof="`uv pip check` therefore complains",
        why="named for its complaint; nobody is told to run it",
    ),
    Elsewhere(
        pattern=r"HEADRACE_KERNELS_ON_GPU=1 pytest tests/kernels/test_on_gpu\.py",
        file="tests/kernels/test_on_gpu.py",
        proof="def test_",
        why="needs a CUDA device; without one `make test` reads the file and skips it",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.kernels\.run",
        file="tests/kernels/test_benchmark.py",
        proof='"benchmarks.kernels.run"',
        why="run there; without a GPU it must say so and time nothing",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.device .*",
        file="tests/trainer/test_device_run.py",
        proof='"benchmarks.device", "--rehearse"',
        why="needs a CUDA device; it is rehearsed there on the CPU, from beginning to end",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.streams\.run --table",
        file="tests/streams/test_streams_benchmark.py",
        proof="def test_its_command_is_there_and_tells_its_options",
        why="takes ten minutes and the whole machine; its parts are tested there",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.streams\.cores",
        file="tests/streams/test_streams_benchmark.py",
        proof="def test_the_stages_code_is_measured_without_servers",
        why="run there for a moment",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.streams\.restart",
        file="tests/integration/test_restart_benchmark.py",
        proof="def test_a_restart_is_timed_where_the_tables_know_many_episodes",
        why="run there with few episodes",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.trainer\.run --before .*",
        file="tests/trainer/test_trainer_benchmark.py",
        proof="from benchmarks.trainer.run import ROOT, main",
        why="takes minutes with the bundled model; run there with a tiny one",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.trainer\.reading",
        file="tests/trainer/test_trainer_benchmark.py",
        proof="def test_rows_are_read_alone_and_together",
        why="takes minutes; run there with a few short rows",
    ),
    Elsewhere(
        pattern=r"headrace bench gateway",
        file="tests/infra/test_cli_bench.py",
        proof="def test_a_benchmark_gets_its_options_and_its_exit_code_is_told",
        why="takes minutes and the whole machine; it is run there for a moment, without a broker",
    ),
    Elsewhere(
        pattern=r"python -m benchmarks\.streams\.run",
        file="tests/streams/test_streams_benchmark.py",
        proof='"benchmarks.streams.run"',
        why="starts parts of its own and takes minutes; its options are read there",
    ),
    Elsewhere(
        pattern=r"headrace (up|work|tasks) .*--settings examples/writer_checker/both\.toml.*",
        file="tests/e2e/test_two_agents.py",
        proof='EXAMPLE / "both.toml"',
        why="trains two policies for minutes; agent and settings are run there, with a tiny model",
    ),
    Elsewhere(
        pattern=r"headrace (up|work|tasks) .*--settings examples/planner_executor/settings\.toml.*",
        file="tests/examples/test_planner_executor.py",
        proof='credited("settings.toml")',
        why="trains two policies for minutes; agent, settings and credit are run there, scripted",
    ),
    Elsewhere(
        pattern=r".*\n@reward\(.*",
        file="tests/docs/test_documents.py",
        proof="rules = [value for value in names.values() if isinstance(value, Rule)]",
        why="reward rules are executed there, and called",
    ),
    Elsewhere(
        pattern=r"import torch\nfrom headrace\.kernels import .*",
        file="tests/kernels/test_kernels_docs.py",
        proof="exec(compile(block",
        why="run there",
    ),
    Elsewhere(
        pattern=r"from trl import .*",
        file="tests/examples/test_trl_grpo.py",
        proof="exec(compile(block",
        why="needs TRL; run there, by `make trl`",
    ),
)
