"""Real parts that some of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.secured import Secured, secured_stack


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Parts that ask for credentials over TLS, started once per run."""
    with secured_stack(tmp_path_factory.mktemp("secured")) as made:
        yield made
