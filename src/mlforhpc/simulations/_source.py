"""A simulation by what a person types: FILE.py:name, FILE.toml, or the name of a built-in one.

`name` is a Simulation, or a plain function with its parameters and outputs beside it. FILE.py is run once, here; what it defines
travels to the slots by value, as that of a script does. Where that cannot be (a lock, a handle of a C library), the slots import the
file, and what it runs by itself belongs under `if __name__ == "__main__":`.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import cloudpickle

from mlforhpc.core.errors import MLforHPCError, UsageError
from mlforhpc.core.names import find, suggestion
from mlforhpc.core.names import load as load_name
from mlforhpc.core.simulation import Output, Simulation
from mlforhpc.core.space import Parameter, Space
from mlforhpc.simulations import _toml
from mlforhpc.simulations._function import simulation as of_function


def simulation_of(text: str, *, parameters: Mapping[str, Parameter] | None = None, outputs: Sequence[Output] = ()) -> Simulation:
    """The simulation that `text` names.

    Args:
        text: "FILE.py:name", "FILE.py" (with one Simulation in it), "FILE.toml", or a name.
        parameters, outputs: of a plain function; refused for what has its own.

    Raises:
        UsageError: no such file or name, a file that cannot be imported, or parameters and outputs missing or too many.
    """
    file, _, name = text.partition(":")
    if file.endswith(".py"):
        found = _object(Path(file), name)
        if not isinstance(found, Simulation):
            return _around(found, text, parameters or {}, outputs)
    elif file.endswith(".toml") and not name:
        found = _toml.load(file)
    elif text in find("simulations"):
        found = load_name("simulations", text).create()
    else:
        raise UsageError(
            f"A simulation is FILE.py:name, FILE.toml or a built-in name, found '{text}'.{suggestion(text, find('simulations'))}"
        )
    if parameters or outputs:
        raise UsageError(f"'{text}' says its own parameters and outputs; leave out --parameter and --outputs.")
    made: Simulation = found
    return made


def _around(function: object, text: str, parameters: Mapping[str, Parameter], outputs: Sequence[Output]) -> Simulation:
    if not callable(function):
        raise UsageError(f"'{text}' must be a function or a simulation, found {type(function).__name__}.")
    if not parameters or not outputs:
        try:
            wanted = " ".join(f"--parameter {name}=LOW:HIGH" for name in inspect.signature(function).parameters)
        except (TypeError, ValueError):
            wanted = "--parameter NAME=LOW:HIGH"
        lacking = " and ".join(what for what, there in (("parameters", parameters), ("outputs", outputs)) if not there)
        raise UsageError(f"'{text}' is a plain function, whose {lacking} were not said. Say: {wanted} --outputs NAME")
    return of_function(function, space=Space(parameters), outputs=outputs)


def _object(file: Path, name: str) -> object:
    module = _module(file, re.sub(r"\W", "_", f"own_{file.stem}"))
    found = _chosen(file, module, name)
    if _travels(module, found) or not file.stem.isidentifier() or file.stem in sys.modules:
        return found
    return _chosen(file, _module(file, file.stem), name)


def _chosen(file: Path, module: ModuleType, name: str) -> object:
    """What is called `name` in a module, or its only simulation."""
    own = {key: value for key, value in vars(module).items() if not key.startswith("_") and not inspect.ismodule(value)}
    if name:
        if name not in vars(module):
            raise UsageError(f"'{file}' has no '{name}'; it has {', '.join(own) or 'nothing'}.{suggestion(name, own)}")
        return vars(module)[name]
    made = [key for key, value in own.items() if isinstance(value, Simulation) and not inspect.isclass(value)]
    if len(made) != 1:
        functions = [key for key, value in own.items() if inspect.isfunction(value) and value.__module__ == module.__name__]
        raise UsageError(
            f"'{file}' has {len(made) or 'no'} simulations{': ' + ', '.join(made) if made else ''}; say which, or which function: "
            + (" or ".join(f"{file}:{key}" for key in made or functions) or f"{file}:NAME")
        )
    return vars(module)[made[0]]


def _travels(module: ModuleType, thing: object) -> bool:
    """Whether it can be pickled with all that the module defines for it."""
    cloudpickle.register_pickle_by_value(module)
    try:
        cloudpickle.dumps(thing)
        return True
    except Exception:  # whatever its parts raise
        return False
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _module(file: Path, name: str) -> ModuleType:
    """Run a file as a module of this name; its folder comes first on the path, as for a script."""
    if not file.is_file():
        raise UsageError(f"There is no file '{file}'; a simulation is FILE.py:name or FILE.toml.")
    path = file.resolve()
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):  # ours is for what was asked
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _not_imported(file, path, error) from error
    return module


def _not_imported(file: Path, path: Path, error: BaseException) -> UsageError:
    """The sentence for a file that raised: the line that did, and the error's last line."""
    if isinstance(error, MLforHPCError):
        return UsageError(f"'{file}' cannot be imported: {error}")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        lines = [error.lineno]
    where = f", line {lines[-1]}," if lines else ""
    what = traceback.format_exception_only(error)[-1].strip()
    return UsageError(f"'{file}'{where} cannot be imported: {what}")
