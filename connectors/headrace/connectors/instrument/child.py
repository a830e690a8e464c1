"""The agent's process: waits for frameworks, and switches their spans on when they come."""

import atexit
import os
import sys
import threading
from types import ModuleType
from typing import Any

from headrace.connectors.instrument.frameworks import FRAMEWORKS, Framework
from headrace.connectors.instrument.hooks import Watch
from headrace.connectors.instrument.journal import Journal, journal_here, keep_here

_OURS = "opentelemetry"
"""What we import ourselves to switch spans on."""


def begin(folder: str) -> None:
    """Called once, before the agent's first line: nothing is imported yet but this."""
    if journal_here() is not None:
        return
    child = Child(keep_here(Journal(folder)))
    atexit.register(child.tell_raised)
    watch = Watch()
    watch.install()
    for framework in FRAMEWORKS:
        watch.when_imported(framework.module, child.listener(framework))
    watch.when_any_imported(_OURS, child.go_on)


class Child:
    """Switches on the spans of one framework after another."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._provider: Any = None
        self._starts = False
        self._later: list[tuple[Framework, ModuleType]] = []
        self._lock = threading.RLock()  # an instrumentor imports what is waited for, too

    def listener(self, framework: Framework) -> Any:
        """What to call when a framework's module has been imported."""

        def imported(module: ModuleType) -> None:
            if _is_half_imported(module):
                self._later.append((framework, module))
            else:
                self._try(framework, module)

        return imported

    def go_on(self, module: ModuleType) -> None:
        """A module of OpenTelemetry has been executed: what waited for it may be switched on."""
        if self._later and not _is_half_imported(module):
            waiting, self._later = self._later, []
            for framework, its_module in waiting:
                self._try(framework, its_module)

    def tell_raised(self) -> None:
        """At the end of the process: the exception that ends it, if one does.

        The interpreter keeps what nobody caught, whatever hook of the agent's prints it.
        """
        error = getattr(sys, "last_value", None)
        if not isinstance(error, Exception):  # Ctrl-C is a signal, and no fault of the agent's
            return
        from headrace.connectors.instrument.raised import raised_record

        self.journal.write(raised_record(error))

    def _try(self, framework: Framework, module: ModuleType) -> None:
        try:
            with self._lock:
                self._switch_on(framework, module)
        except Exception as error:  # one that fails must not take the agent or others along
            self._note(framework, f"{type(error).__name__}: {error}")

    def _switch_on(self, framework: Framework, module: ModuleType) -> None:
        if self._starts or (framework.has and not hasattr(module, framework.has)):
            return  # we import OpenTelemetry ourselves; or another module of that name
        provider = self._provider or self._start()
        if framework.ready:
            from headrace.connectors.instrument import switches

            getattr(switches, framework.ready)(module, provider)
        if framework.instrumentors:
            self._instrument(framework, provider)

    def _instrument(self, framework: Framework, provider: Any) -> None:
        from importlib import import_module
        from importlib.util import find_spec

        for place, _ in framework.instrumentors:
            name, _, instrumentor = place.partition(":")
            if not _is_there(find_spec, name):
                continue
            one = getattr(import_module(name), instrumentor)()
            if not one.is_instrumented_by_opentelemetry:
                one.instrument(tracer_provider=provider)
            if not one.is_instrumented_by_opentelemetry:
                self._note(framework, f"{name} does not fit the version that is installed")
            return
        if framework.missed:
            self._note(framework, "", framework.instrumentors[0][1])

    def _start(self) -> Any:
        self._starts = True
        try:
            from headrace.connectors.instrument import processes, provider

            self._provider = provider.set_up(self.journal)
        finally:
            self._starts = False
        processes.pass_on_parents()
        return self._provider

    def _note(self, framework: Framework, trouble: str, package: str = "") -> None:
        self.journal.write(
            {
                "k": "note",
                "framework": framework.name,
                "package": package,
                "trouble": trouble,
                "pid": os.getpid(),
            }
        )


def _is_there(find_spec: Any, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package above it
        return False


def _is_half_imported(but: ModuleType) -> bool:
    """Whether a module of OpenTelemetry, other than this one, is in the midst of its execution:
    one that needs it would find it half there."""
    return any(
        name.startswith(f"{_OURS}.")
        and module is not but
        and getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in tuple(sys.modules.items())
    )
