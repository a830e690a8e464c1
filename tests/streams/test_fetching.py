"""What the host sets of aiokafka beside its settings."""

from types import SimpleNamespace

from aiokafka.consumer.fetcher import Fetcher

from headrace.streams.host.fetching import pace


def test_it_sets_what_aiokafka_asks_brokers_with() -> None:
    fetcher = SimpleNamespace()
    pace(fetcher, 20, came=True)
    assert set(Fetcher.__init__.__code__.co_names) >= set(vars(fetcher))
    assert set(Fetcher._get_actions_per_node.__code__.co_names) >= set(vars(fetcher))


def test_a_fetch_waits_for_company_while_records_come_and_is_rare_while_none_do() -> None:
    fetcher = SimpleNamespace()
    pace(fetcher, 20, came=True)
    assert (fetcher._fetch_min_bytes > 1_000, fetcher._fetch_max_wait_ms) == (True, 20)
    pace(fetcher, 20, came=False)
    assert fetcher._fetch_min_bytes == 1
    assert fetcher._fetch_max_wait_ms > 20
