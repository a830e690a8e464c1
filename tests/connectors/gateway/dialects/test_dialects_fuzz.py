"""Whatever a client sends is read or refused with a reason; it never breaks a reader."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace.connectors.gateway.dialects.completions.read as completions
import headrace.connectors.gateway.dialects.embeddings.read as embeddings
import headrace.connectors.gateway.dialects.messages.read as messages
import headrace.connectors.gateway.dialects.responses.read as responses
from headrace.connectors.gateway.conversation import template_messages, template_tools
from headrace.connectors.gateway.errors import BadRequest
from tests.connectors.gateway.dialects.bodies import (
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    json_values,
    mutated,
)

Read = Callable[[Mapping[str, Any]], Any]


def read_messages(body: Mapping[str, Any]) -> None:
    ask = messages.read(body, max_messages=9)
    template_messages(ask.messages)
    template_tools(ask.tools)


def read_responses(body: Mapping[str, Any]) -> None:
    responses.previous_of(body)
    ask = responses.read(body, max_messages=9, default_max_tokens=9).ask
    template_messages(ask.messages)
    template_tools(ask.tools)


READERS: dict[str, tuple[Read, dict[str, Any]]] = {
    "completions": (lambda body: completions.read(body, default_max_tokens=9), COMPLETIONS),
    "embeddings": (embeddings.read, EMBEDDINGS),
    "messages": (read_messages, MESSAGES),
    "responses": (read_responses, RESPONSES),
}


@pytest.mark.parametrize("api", READERS)
def test_the_body_that_is_changed_is_a_valid_one(api: str) -> None:
    read, valid = READERS[api]
    read(valid)


@pytest.mark.parametrize("api", READERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_reader_refuses_what_it_cannot_read_and_names_it(api: str, data: st.DataObject) -> None:
    read, valid = READERS[api]
    anything = st.dictionaries(st.sampled_from(sorted(valid)), json_values, max_size=6)
    body = data.draw(mutated(valid) | anything)
    refusal = refused(read, body)
    if refusal is not None:
        assert refusal.param
        assert len(refusal.message) < 500


def refused(read: Read, body: Mapping[str, Any]) -> BadRequest | None:
    try:
        read(body)
    except BadRequest as refusal:
        return refusal
    return None
