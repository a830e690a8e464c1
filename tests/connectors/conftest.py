"""What tests of the runner and of the task source share."""

from collections.abc import Iterator

import pytest

from headrace.infra.embedded import Stack
from tests.support.watching import Watch


@pytest.fixture
def watch(stack: Stack) -> Iterator[Watch]:
    watching = Watch(stack)
    yield watching
    watching.close()
