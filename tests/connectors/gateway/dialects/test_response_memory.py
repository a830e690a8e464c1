"""Answers that can be gone on from."""

import pytest

from headrace.connectors.gateway.dialects.responses.memory import (
    ResponseMemory,
    ResponseNotFound,
    StoredResponse,
)


def stored(identity: str, size: int = 10) -> StoredResponse:
    item = {"id": f"msg_{identity.removeprefix('resp_')}_0", "type": "message"}
    return StoredResponse(
        response={"id": identity, "output": [item]}, items=(), conversation=(), size=size
    )


def test_an_answer_is_found_where_it_was_given_and_nowhere_else() -> None:
    memory = ResponseMemory(100)
    memory.keep("r/a", stored("resp_1"))
    assert memory.get("r/a", "resp_1").response["id"] == "resp_1"
    with pytest.raises(ResponseNotFound, match="resp_1") as raised:
        memory.get("r/b", "resp_1", "previous_response_id")
    assert (raised.value.status, raised.value.param) == (404, "previous_response_id")


def test_the_one_asked_for_longest_ago_makes_room() -> None:
    memory = ResponseMemory(30)
    for identity in ("resp_1", "resp_2", "resp_3"):
        memory.keep("s", stored(identity))
    memory.get("s", "resp_1")
    memory.keep("s", stored("resp_4"))
    assert (len(memory), memory.size) == (3, 30)
    memory.get("s", "resp_1")
    with pytest.raises(ResponseNotFound):
        memory.get("s", "resp_2")


def test_an_answer_larger_than_all_may_be_is_not_kept() -> None:
    memory = ResponseMemory(30)
    memory.keep("s", stored("resp_1"))
    memory.keep("s", stored("resp_2", size=31))
    assert (len(memory), memory.size) == (1, 10)


def test_an_answer_kept_again_counts_once_and_one_forgotten_not_at_all() -> None:
    memory = ResponseMemory(30)
    memory.keep("s", stored("resp_1"))
    memory.keep("s", stored("resp_1", size=20))
    assert memory.size == 20
    memory.forget("s", "resp_1")
    assert (len(memory), memory.size) == (0, 0)
    with pytest.raises(ResponseNotFound):
        memory.forget("s", "resp_1")


@pytest.mark.parametrize("item", ["msg_1_1", "msg_2_0", "msg", "", "msg__", "_1_0_"])
def test_an_item_that_is_not_here_is_none(item: str) -> None:
    memory = ResponseMemory(30)
    memory.keep("s", stored("resp_1"))
    assert memory.item("s", item) is None
    known = memory.item("s", "msg_1_0")
    assert known is not None
    assert known["id"] == "msg_1_0"
