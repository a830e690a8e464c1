"""`[privacy]`, and the switches of other conventions."""

import logging
from pathlib import Path

import pytest

from headrace.connectors.privacy import Hidden, Privacy, PrivacySettings
from headrace.connectors.privacy.logs import RedactingFilter
from headrace.connectors.privacy.summary import summary
from headrace.connectors.privacy.switches import from_header, hidden_by, to_header
from headrace.connectors.settings import BadSettings, from_environment, to_environment


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"capture": "some"}, "capture"),
        ({"projects": ("a b=full",)}, "project=mode"),
        ({"projects": ("a=some",)}, "project=mode"),
        ({"redact": ("e-mail",)}, "email"),
        ({"patterns": ("a=(",)}, "RE2"),
        ({"replace_by": "pseudonym"}, "HEADRACE_PRIVACY_PSEUDONYM_KEY"),
        ({"replace_by": "pseudonym", "pseudonym_key": "short"}, "16 or more"),
        ({"pseudonym_key_file": "/nowhere/key"}, "No such file"),
        ({"model_sees": "all"}, "model_sees"),
    ],
)
def test_what_cannot_be_is_named(given: dict[str, object], told: str) -> None:
    with pytest.raises(BadSettings, match=told) as raised:
        PrivacySettings(**given)  # type: ignore[arg-type]  # what a file may hold
    assert "short'" not in str(raised.value)


def test_a_key_is_in_no_text_of_the_settings(tmp_path: Path) -> None:
    settings = PrivacySettings(replace_by="pseudonym", pseudonym_key="k" * 16)
    assert "kkk" not in repr(settings)
    file = tmp_path / "key"
    file.write_text("from a file, long\n", encoding="utf-8")
    assert PrivacySettings(pseudonym_key_file=str(file)).secret == "from a file, long"


def test_patterns_reach_the_parts_as_they_are() -> None:
    settings = PrivacySettings(
        redact=("email", "iban"), patterns=(r"staff=EMP-\d{2,6}", "b=[abc],", "c=[xy] z")
    )
    assert from_environment(PrivacySettings, "privacy", to_environment("privacy", settings)) == (
        settings
    )
    assert to_environment("privacy", settings)["HEADRACE_PRIVACY_REDACT"] == "email,iban"


OTEL = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.mark.parametrize(
    ("environment", "hidden"),
    [
        ({}, set()),
        ({OTEL: "SPAN_ONLY"}, set()),
        ({OTEL: "true"}, set()),
        ({OTEL: "EVENT_ONLY"}, set()),
        ({OTEL: "NO_CONTENT"}, {Hidden.CONTENT}),
        ({OTEL: "False"}, {Hidden.CONTENT}),
        ({"OPENINFERENCE_HIDE_INPUTS": "true"}, {Hidden.INPUTS}),
        ({"OPENINFERENCE_HIDE_INPUTS": "false"}, set()),
        ({"OPENINFERENCE_HIDE_OUTPUT_TEXT": "1"}, {Hidden.OUTPUTS}),
        (
            {"OPENINFERENCE_HIDE_LLM_TOOLS": "TRUE", "OPENINFERENCE_HIDE_CHOICES": "true"},
            {Hidden.TOOLS, Hidden.OUTPUTS},
        ),
        ({"OPENINFERENCE_HIDE_LLM_INVOCATION_PARAMETERS": "true"}, set()),
    ],
)
def test_switches(environment: dict[str, str], hidden: set[Hidden]) -> None:
    assert hidden_by(environment) == hidden
    assert from_header(to_header(frozenset(hidden))) == hidden


def test_a_word_of_a_later_release_hides_all() -> None:
    assert from_header("inputs, faces") == {Hidden.CONTENT}


def test_otels_switch_makes_the_mode_metadata_and_never_more() -> None:
    hidden = frozenset({Hidden.CONTENT})
    assert Privacy(PrivacySettings(), hidden).capture("p") == "metadata"
    assert Privacy(PrivacySettings(capture="none"), hidden).capture("p") == "none"


def test_the_settings_in_a_sentence() -> None:
    assert summary(PrivacySettings(), {}) == (
        "capture full: texts and tokens are kept; nothing is redacted"
    )
    told = summary(
        PrivacySettings(
            capture="metadata",
            projects=("open=full",),
            redact=("email",),
            patterns=(r"staff=EMP-\d+",),
            replace_by="pseudonym",
            pseudonym_key="k" * 16,
        ),
        {OTEL: "false"},
    )
    assert told == (
        "capture metadata: facts are kept, neither texts nor tokens: nothing can be trained; "
        "but open=full; email, staff replaced by a pseudonym; models see the redacted request; "
        "this environment's switches hide content"
    )


def test_logs_are_redacted_with_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    redacting = RedactingFilter(Privacy(PrivacySettings(redact=("email",))))
    logger = logging.getLogger("headrace.test")
    with caplog.filtering(redacting):
        logger.warning("agent %s said %s", "mail", "a@b.org")
        try:
            raise ValueError("no such user: a@b.org")
        except ValueError:
            logger.exception("it failed")
    assert "agent mail said [email]" in caplog.text
    assert "ValueError: no such user: [email]" in caplog.text
    assert "a@b.org" not in caplog.text
