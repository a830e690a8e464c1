"""Being told when a module has been imported, without importing anything before. Stdlib only.

`wrapt.when_imported` does the same; importing wrapt takes longer than everything here.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Told = Callable[[ModuleType], None]


class Watch:
    """A finder that finds nothing of its own: it calls back when a module has been executed."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[Told]] = {}
        self._below: dict[str, Told] = {}
        self._prefixes: tuple[str, ...] = ()
        self._asking = threading.local()

    def install(self) -> None:
        """Be asked before all other finders."""
        sys.meta_path.insert(0, self)

    def when_imported(self, name: str, told: Told) -> None:
        """Call `told` with the module once it has been executed; at once if it is there."""
        module = sys.modules.get(name)
        if module is not None:
            told(module)
        else:
            self._wanted.setdefault(name, []).append(told)

    def when_any_imported(self, below: str, told: Told) -> None:
        """Call `told` with each module under a package once it has been executed."""
        self._below[f"{below}."] = told
        self._prefixes = tuple(self._below)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders have, with our call behind the module's execution."""
        if not self._is_wanted(name) or getattr(self._asking, "busy", False):
            return None
        self._asking.busy = True
        try:
            spec = find_spec(name)
        finally:
            self._asking.busy = False
        if spec is not None and spec.loader is not None:
            self._listen(name, spec.loader)
        return spec

    def _is_wanted(self, name: str) -> bool:
        return name in self._wanted or name.startswith(self._prefixes)

    def _listen(self, name: str, loader: Any) -> None:
        execute = loader.exec_module

        def listening(module: ModuleType) -> None:
            loader.exec_module = execute
            execute(module)
            for told in self._wanted.pop(name, ()):
                told(module)
            for below, told in self._below.items():
                if name.startswith(below):
                    told(module)

        try:
            # On the object: its type stays what `pkgutil` and `inspect` expect.
            loader.exec_module = listening
        except AttributeError:  # a loader that cannot be told: the framework stays unseen
            return
