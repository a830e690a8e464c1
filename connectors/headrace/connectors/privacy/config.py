"""The section `[privacy]`: what is kept of agents' data, and what in it is replaced."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.connectors.privacy.builtin import BUILTIN
from headrace.connectors.privacy.redactor import bad_patterns
from headrace.connectors.settings import check, key
from headrace.schemas.ids import ID_PATTERN

Capture = Literal["none", "metadata", "full"]
CAPTURES: tuple[Capture, ...] = ("none", "metadata", "full")
LEAST_KEY = 16
"""Characters of a key: an HMAC under a shorter one can be tried out."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PrivacySettings:
    """What is kept of agents' texts and tokens, and what in them is replaced.

    Raises:
        BadSettings: names each key that cannot be.
    """

    capture: Capture = key("full", choices=CAPTURES)
    """`full`: everything; `metadata`: names, times, counts, models, statuses, and neither texts nor
    tokens (calls are not trained, `not_captured`); `none`: no span leaves its process."""
    projects: tuple[str, ...] = ()
    """The same for single projects: `"project=metadata"`."""
    redact: tuple[str, ...] = ()
    """What is replaced in every text before it is cut into tokens and before it leaves: `all`, or
    some of the built-in patterns."""
    patterns: tuple[str, ...] = ()
    """Patterns of your own, `"name=expression"` in RE2's syntax; of one with a group the first is
    replaced."""
    replace_by: Literal["mark", "pseudonym"] = key("mark", choices=("mark", "pseudonym"))
    """What is put in its place: `[email]`, or `[email:…]` with a pseudonym that is equal for equal
    values; needs a key."""
    pseudonym_key: str = key("", secret=True)
    """Key of the pseudonyms, 16 characters or more; whoever has it can try out values."""
    pseudonym_key_file: str = ""
    """File with the key, instead."""
    model_sees: Literal["redacted", "original"] = key("redacted", choices=("redacted", "original"))
    """What the gateway gives to a model, its own or an upstream's. `original`: calls that hold
    something to redact are not trained (`redacted`), for their log would differ from what was
    sampled."""
    honour_switches: bool = True
    """Whether what OpenTelemetry's and OpenInference's variables hide in the environment of a part,
    of `headrace run` or `headrace work`, is left out of our own records too."""

    def __post_init__(self) -> None:
        check(
            self,
            "privacy",
            ("projects", _bad_projects(self.projects)),
            ("redact", _bad_names(self.redact)),
            ("patterns", bad_patterns(self.patterns)),
            ("replace_by", self._bad_key()),
            ("pseudonym_key_file", self._bad_file()),
        )

    @property
    def redacts(self) -> bool:
        """Whether anything is replaced."""
        return bool(self.redact or self.patterns)

    @property
    def secret(self) -> str:
        """The pseudonyms' key. Raises OSError."""
        if self.pseudonym_key:
            return self.pseudonym_key
        if self.pseudonym_key_file:
            return Path(self.pseudonym_key_file).expanduser().read_text(encoding="utf-8").strip()
        return ""

    def capture_of(self, project: str) -> Capture:
        """The mode of a project."""
        for one in self.projects:
            name, _, mode = one.rpartition("=")
            if name == project:
                return _mode(mode)
        return self.capture

    def _bad_key(self) -> str:
        if self.replace_by != "pseudonym":
            return ""
        try:
            length = len(self.secret)
        except (OSError, UnicodeDecodeError):
            return ""  # told of the file
        if length >= LEAST_KEY:
            return ""
        return (
            f"is 'pseudonym', and the key has {length} characters: set pseudonym_key "
            f"(HEADRACE_PRIVACY_PSEUDONYM_KEY) or pseudonym_key_file, {LEAST_KEY} or more"
        )

    def _bad_file(self) -> str:
        if not self.pseudonym_key_file:
            return ""
        try:
            Path(self.pseudonym_key_file).expanduser().read_text(encoding="utf-8")
        except OSError as error:
            return f"is {self.pseudonym_key_file!r}: {error.strerror}"
        except UnicodeDecodeError:
            return f"is {self.pseudonym_key_file!r}: it is no UTF-8 text"
        return ""


def _mode(text: str) -> Capture:
    return next(mode for mode in CAPTURES if mode == text)


def _bad_projects(projects: tuple[str, ...]) -> str:
    for one in projects:
        name, _, mode = one.rpartition("=")
        if not ID_PATTERN.fullmatch(name) or mode not in CAPTURES:
            return f"holds {one!r}: give project=mode, with {' or '.join(CAPTURES)}"
    return ""


def _bad_names(names: tuple[str, ...]) -> str:
    known = ("all", *BUILTIN)
    unknown = [name for name in names if name not in known]
    return f"holds {unknown[0]!r}: there are {', '.join(known)}" if unknown else ""
