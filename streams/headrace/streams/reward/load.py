"""Rules by name, as settings give them."""

import importlib
from types import ModuleType

from headrace.streams.reward.errors import RuleNotFound
from headrace.streams.reward.rule import Rule
from headrace.streams.reward.span_rule import span_rule

SPAN_PREFIXES = ("reward-span:", "span:")


def load_rule(text: str) -> Rule:
    """The rule that a text names.

    `package.module:function`, `package.module` with exactly one rule in it,
    `reward-span:name` (the reward span of that name) or `span:a=1.0,b=0.5` (a weighted sum).
    A plain function is a rule of its name, versioned by its code.

    Raises:
        RuleNotFound: there is no such module, no such rule in it, or more than one.
        RewardError: what is there cannot be a rule.
    """
    for prefix in SPAN_PREFIXES:
        if text.startswith(prefix):
            return span_rule(text.removeprefix(prefix))
    path, colon, attribute = text.partition(":")
    module = _module(path, text)
    return _named(module, attribute) if colon else _only(module)


def _module(path: str, text: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except (ImportError, ValueError) as error:
        raise RuleNotFound(
            f"reward rule {text!r}: cannot import {path!r} ({error}); write package.module:function"
            " of a module on the Python path, or reward-span:NAME"
        ) from error


def _named(module: ModuleType, attribute: str) -> Rule:
    found = getattr(module, attribute, None)
    if isinstance(found, Rule):
        return found
    if not callable(found):
        raise RuleNotFound(f"{module.__name__} has no rule {attribute!r}; it has {_rules(module)}")
    return Rule(name=attribute, function=found)


def _only(module: ModuleType) -> Rule:
    rules = _rules(module)
    if len(rules) != 1:
        raise RuleNotFound(
            f"{module.__name__} must hold exactly one @reward rule to be named alone, it has "
            f"{sorted(rules)}: write {module.__name__}:RULE"
        )
    return next(iter(rules.values()))


def _rules(module: ModuleType) -> dict[str, Rule]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Rule)}
