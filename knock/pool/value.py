"""Pickling by value of what a worker cannot import: the functions and classes of ``__main__``.

Rule 1: all functions of the caller's ``__main__`` share one globals dictionary in the worker: the
        one of the worker's own ``__main__``. So a ``global`` set by one is seen by the others.
Rule 2: what exists in a worker is never overwritten by what is loaded later: neither names in its
        ``__main__`` nor attributes of a class that it knows.
Rule 3: a class keeps its identity on the way out and back, so ``isinstance`` and ``except`` hold.
Rule 4: all that is made here is loaded by plain ``pickle.loads``.
Rule 5: what would travel only as a name of ``__main__`` is refused here: no worker knows it.
"""

import copyreg
import functools
import io
import linecache
import os
import pickle
import sys
import typing
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, NewType

from cloudpickle import (  # type: ignore[import-untyped]
    Pickler as CloudPickler,
    cloudpickle,
)

PROTOCOL = 5
# Of a notebook cell or the like; enough for tracebacks.
MAX_SOURCE_CHARS = 1 << 18

_LOCAL = "<locals>"
_Cached = functools._lru_cache_wrapper
# Types for mypy: it knows the one with a literal name only, and the other not at all.
_new_type: Any = vars(typing)["NewType"]
_module_of: Callable[[object, str], str] = vars(pickle)["whichmodule"]
# All functions that it makes share their code; what they dispatch to is in their closures.
_DISPATCH_CODE: CodeType = vars(functools)["singledispatch"](len).__code__
_MADE_ANEW = frozenset(
    {"__wrapped__", "cache_parameters", "register", "dispatch", "registry", "_clear_cache"}
)


def main_namespace() -> dict[str, Any]:
    """Return the globals of this process's ``__main__``."""
    return sys.modules["__main__"].__dict__


class _MainNamespace:
    """Stands for the globals of ``__main__`` in a pickle; loads as those of the loading process."""

    def __reduce__(self) -> tuple[Callable[[], dict[str, Any]], tuple[()]]:
        return main_namespace, ()


def is_main_definition(obj: Any) -> bool:
    """Whether a function or class is found in ``__main__`` by its name."""
    # A cached partial has no name at all.
    qualname = getattr(obj, "__qualname__", _LOCAL)
    if obj.__module__ != "__main__" or _LOCAL in qualname:
        return False
    root, *rest = qualname.split(".")
    found = main_namespace().get(root)
    for name in rest:
        found = getattr(found, name, None)
    return found is obj


class ByValuePickler(CloudPickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Pickles functions and classes that cannot be imported, by value.

    With ``main_by_reference`` those that are found in ``__main__`` by name are only named, and
    collected in ``named``; else they travel by value too.
    """

    def __init__(self, file: io.BytesIO, *, main_by_reference: bool) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.named: dict[int, Any] = {}
        self.sources: dict[str, str] = {}
        self._main_by_reference = main_by_reference
        # One empty set per pickle: at loading time it collects the classes known before.
        self._known: set[int] = set()
        # cloudpickle asks this table for the globals that a function shall have when loaded.
        self.globals_ref[id(main_namespace())] = _MainNamespace()

    def reducer_override(self, obj: Any) -> Any:
        """Reduce a function, class or code; anything else is left to pickle."""
        if isinstance(obj, CodeType):
            make, args = cloudpickle._code_reduce(obj)
            return make_code, (make, args, obj.co_filename)
        is_class = isinstance(obj, type)
        if not is_class and not isinstance(obj, (FunctionType, _Cached, NewType)):
            return _reduce_other(self.dispatch_table, obj)
        if self._main_by_reference and is_main_definition(obj):
            self.named[id(obj)] = obj
            return NotImplemented
        if isinstance(obj, (_Cached, NewType)) or is_dispatching(obj):
            return _reduce_made(obj)
        return self._reduce_definition(obj, is_class=is_class)

    def _reduce_definition(self, obj: Any, *, is_class: bool) -> Any:
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented or len(reduced) != 6:  # noqa: PLR2004 - not dynamic
            return reduced
        make, args, state, _, _, set_state = reduced
        name = _main_name(obj)
        if is_class:
            if make is cloudpickle._make_skeleton_class and vars(obj).get("__slots__"):
                # cloudpickle drops them, and then instances have another state than the caller's.
                args[3]["__slots__"] = obj.__slots__
            args = (self._known, make, args, obj.__qualname__)
            state = (self._known, name, set_state, state)
            return make_class, args, state, None, None, set_class_state
        self._keep_source(obj.__code__.co_filename)
        return make, args, (name, set_state, state), None, None, set_function_state

    def _keep_source(self, filename: str) -> None:
        # A real file is read where the traceback is made; a notebook cell exists only here.
        if filename not in self.sources and not _is_real_file(filename):
            source = "".join(linecache.getlines(filename))
            if 0 < len(source) <= MAX_SOURCE_CHARS:
                self.sources[filename] = source


def _is_real_file(filename: str) -> bool:
    entry = linecache.cache.get(filename)
    # Without a time of change it was put there by whoever made it up: a cell may even have a file.
    is_made_up = entry is not None and len(entry) > 1 and entry[1] is None
    return not is_made_up and not filename.startswith("<") and os.path.exists(filename)


def _main_name(obj: Any) -> str | None:
    """Return the name under which a worker's ``__main__`` shall have it, if any."""
    return obj.__name__ if is_main_definition(obj) and "." not in obj.__qualname__ else None


def is_dispatching(obj: Any) -> bool:
    """Whether it is a function made by ``functools.singledispatch``."""
    return isinstance(obj, FunctionType) and obj.__code__ is _DISPATCH_CODE


def _reduce_made(obj: Any) -> Any:
    """Reduce what a maker of the standard library has made: by what it was made from."""
    if cloudpickle._lookup_module_and_qualname(obj) is not None:
        return NotImplemented  # it can be imported
    attributes = {key: value for key, value in vars(obj).items() if key not in _MADE_ANEW}
    parts: dict[type, Any] = {}
    make: tuple[Any, ...]
    if isinstance(obj, NewType):
        return make_new_type, (obj.__name__, obj.__supertype__, obj.__module__, _main_name(obj))
    if isinstance(obj, _Cached):
        make = make_cached, (obj.__wrapped__, obj.cache_parameters())
    else:
        make = functools.singledispatch, (obj.__wrapped__,)
        parts = dict(obj.registry)
        attributes |= {key: getattr(obj, key) for key in functools.WRAPPER_ASSIGNMENTS[:4]}
    return *make, (_main_name(obj), attributes, parts), None, None, set_wrapper_state


def _reduce_other(table: Any, obj: Any) -> Any:
    """Refuse an object of ``__main__`` that pickles itself as a mere name; see rule 5."""
    cls: Any = type(obj)
    if cls in table or (
        cls.__reduce__ is object.__reduce__ and cls.__reduce_ex__ is object.__reduce_ex__
    ):
        return NotImplemented
    reduced = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str) and _module_of(obj, reduced) == "__main__":
        raise pickle.PicklingError(f"it pickles as the name {reduced!r} of __main__ only")
    return reduced


def make_cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Loading: return a function of its own empty cache."""
    return functools.lru_cache(**parameters)(function)


def make_new_type(name: str, supertype: Any, module: str, main_name: str | None) -> Any:
    """Loading: return the type, the same one wherever it is of ``__main__``."""
    main = main_namespace()
    if main_name is not None and isinstance(main.get(main_name), NewType):
        return main[main_name]
    made = _new_type(name, supertype)
    made.__module__ = module
    if main_name is not None:
        main.setdefault(main_name, made)
    return made


def set_wrapper_state(wrapper: Any, state: Any) -> None:
    """Loading: fill in what was made before the function in it was, which may call it."""
    name, attributes, parts = state
    for key, value in attributes.items():
        setattr(wrapper, key, value)
    for cls, function in parts.items():
        wrapper.register(cls, function)
    if name is not None:
        main_namespace().setdefault(name, wrapper)


def make_code(make: Callable[..., CodeType], args: Any, filename: str) -> CodeType:
    """Loading: return code with the name of its file, which some versions of cloudpickle drop."""
    return make(*args).replace(co_filename=filename)


def make_class(known: set[int], make: Callable[..., type], args: Any, qualname: str) -> type:
    """Loading: return the class with this tracker id if there is one, else a bare new one."""
    cls: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
    if cls is not None:
        known.add(id(cls))
        return cls
    cls = make(*args)
    cls.__qualname__ = qualname
    return cls


def set_class_state(cls: type, state: Any) -> None:
    """Loading: fill in a new class, and make it known in ``__main__`` if it is of there."""
    known, name, set_state, inner = state
    if id(cls) not in known:
        set_state(cls, inner)
    if name is not None:
        main_namespace().setdefault(name, cls)


def set_function_state(function: FunctionType, state: Any) -> None:
    """Loading: fill in a new function; see rule 2 for its globals."""
    name, set_state, (attributes, slots) = state
    main = main_namespace()
    if function.__globals__ is main:
        found = slots["__globals__"]
        slots["__globals__"] = {key: found[key] for key in found if key not in main}
    set_state(function, (attributes, slots))
    if name is not None:
        main.setdefault(name, function)


def dumps_by_value(obj: object) -> tuple[bytes, list[Any]]:
    """Pickle ``obj``; return the bytes and the definitions of ``__main__`` that they name.

    Raises whatever the objects in it raise.
    """
    file = io.BytesIO()
    pickler = ByValuePickler(file, main_by_reference=True)
    pickler.dump(obj)
    return file.getvalue(), list(pickler.named.values())


class NamingPickler(pickle.Pickler):
    """A plain pickler that notes which definitions of ``__main__`` it names, in ``named``."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, PROTOCOL)
        self.named: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        """See ``ByValuePickler``."""
        if isinstance(obj, (type, FunctionType, _Cached, NewType)):
            if obj.__module__ == "__main__":
                self.named.append(obj)
            return NotImplemented
        return _reduce_other(copyreg.dispatch_table, obj)


def dumps_naming(obj: object) -> tuple[bytes, list[Any]]:
    """Pickle plainly; return the bytes and the definitions of ``__main__`` that they name."""
    file = io.BytesIO()
    pickler = NamingPickler(file)
    pickler.dump(obj)
    return file.getvalue(), pickler.named
