"""Functions and arguments as data.

A function travels as "module:qualname" if a slot can import it, else as cloudpickle bytes named by their content hash
(scripts without a main guard, notebooks, lambdas, partial objects); so it is pickled anew at every call, and a changed
closure is a new function. Arguments are pickled, by value where they are instances of the script's own classes.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from mlforhpc.core.errors import UsageError
from mlforhpc.core.task import Function

_BY_VALUE_LOCK = threading.Lock()
_INSTALLED = tuple({f"{Path(prefix).resolve()}/" for prefix in (sys.prefix, sys.base_prefix)} | {f"{sys.prefix}/", f"{sys.base_prefix}/"})
_MOST_FUNCTIONS = 256
_PLAIN = frozenset((int, float, str, bytes, bool, type(None)))


class Encoder:
    """Encodes for one dispatcher; keeps one copy of each function that is in use."""

    def __init__(self) -> None:
        self._importable: dict[str, bool] = {}
        self._local: dict[str, types.ModuleType] = {}
        self._loaded = 0
        self._named: dict[str, Function] = {}
        self._pickled: dict[str, Function] = {}

    def function(self, function: Callable[..., Any]) -> Function:
        """By reference if it can be imported, else by value.

        Raises:
            UsageError: it cannot be pickled.
        """
        reference = self._reference(function)
        if reference is not None:
            return self._named.setdefault(reference, Function(reference))
        data = self._by_value(function, f"The function {function!r}")
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._pickled:
            if len(self._pickled) >= _MOST_FUNCTIONS:
                self._pickled.clear()
            self._pickled[digest] = Function(digest, data)
        return self._pickled[digest]

    def arguments(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Pickled (args, kwargs) of a call.

        Raises:
            UsageError: they cannot be pickled.
        """
        if not kwargs and all(type(argument) in _PLAIN for argument in args):
            return pickle.dumps((args, {}), protocol=5)
        try:
            data = pickle.dumps((args, kwargs), protocol=5)
        except Exception:  # a lambda, a lock, a user's own __reduce__: by value it works, or fails with a sentence
            return self._by_value((args, kwargs), f"The arguments of {function!r}")
        if b"__main__" in data or any(name.encode() in data for name in self._local_modules()):
            return self._by_value((args, kwargs), f"The arguments of {function!r}")
        return data

    def _reference(self, function: Callable[..., Any]) -> str | None:
        module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(qualname, str) or module == "__main__" or "<" in qualname:
            return None
        found: Any = sys.modules.get(module)
        for name in qualname.split("."):
            found = getattr(found, name, None)
        return f"{module}:{qualname}" if found is function and self._imports(module) else None

    def _imports(self, module: str) -> bool:
        """Whether a slot, which has our sys.path, would find the same file under this name."""
        known = self._importable.get(module)
        if known is None:
            known = self._importable[module] = _on_path(module)
        return known

    def _local_modules(self) -> dict[str, types.ModuleType]:
        """Loaded modules that a slot cannot import: what they define travels by value."""
        if len(sys.modules) != self._loaded:
            self._loaded = len(sys.modules)
            for name, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None)
                if name != "__main__" and isinstance(file, str) and not file.startswith(_INSTALLED) and not self._imports(name):
                    self._local[name] = module
        return self._local

    def _by_value(self, thing: object, what: str) -> bytes:
        try:
            with _taken_along(self._local_modules()):
                data: bytes = cloudpickle.dumps(thing, protocol=5)
        except Exception as error:
            raise UsageError(f"{what} cannot be pickled to be sent to a slot: {type(error).__name__}: {error}") from error
        return data


@contextmanager
def _taken_along(modules: Mapping[str, types.ModuleType]) -> Iterator[None]:
    """Have cloudpickle pickle the functions and classes of these modules by value."""
    if not modules:
        yield
        return
    with _BY_VALUE_LOCK:
        for module in modules.values():
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in modules.values():
                cloudpickle.unregister_pickle_by_value(module)


def _on_path(module: str) -> bool:
    if module in sys.builtin_module_names:
        return True
    spec: importlib.machinery.ModuleSpec | None = None
    prefix, path = "", None
    for part in module.split("."):
        prefix = f"{prefix}.{part}" if prefix else part
        spec = _found(prefix, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    origin = getattr(sys.modules.get(module), "__file__", None)
    return spec is not None and (origin is None or spec.origin == origin)


def _found(name: str, path: Any) -> importlib.machinery.ModuleSpec | None:
    """As an import in a fresh interpreter: through the finders, not through what is loaded here."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except (ImportError, ValueError):
            continue
        if spec is not None:
            return spec
    return None
