"""An executable as a Simulation, described in a TOML file: what `executable` takes, without Python.

    name = "disc"
    command = ["awk", "-f", "disc.awk"]     # a word that names a file beside this one stands for that file
    limit_s = 10

    [templates]                             # file in the run's folder = template beside this file, with {parameter} in it
    "disc.awk" = "disc.awk.in"

    [parameters]
    radius = { low = 1.0, high = 2.0, unit = "m" }          # also log = true
    layers = { kind = "integer", low = 1, high = 5 }
    metal = { options = ["steel", "copper"] }

    [outputs]                               # each with one of `pattern`, `json`, `column`; "stdout" is a file of the run too
    area = { pattern = 'area = (\\S+)', unit = "m2" }
    energy = { json = "results.energy", file = "out.json" }
    profile = { column = 1, file = "out.txt", skip = 1, shape = 64 }

Without `version` it is a hash of this file, the templates and the files that the command names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlforhpc.core.errors import UsageError
from mlforhpc.core.section import Section, read
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Parameter, Real, Space
from mlforhpc.simulations._executable import ExecutableSimulation, Reader, executable
from mlforhpc.simulations._reading import Columns, Json, Pattern

_READERS = ("pattern", "json", "column")
OUTPUT = ("unit", "scale", "scale_floor", "derived", "shape")
"""Keys of an output, however it is computed."""


def load(path: str | Path) -> ExecutableSimulation:
    """The simulation that a TOML file describes.

    Raises:
        UsageError: with the file, the key, what was wanted, what was found and the way out.
    """
    file = Path(path)
    top, content = read(file, "A simulation")
    top.only("name", "version", "command", "limit_s", "templates", "parameters", "outputs", "references")
    texts = top.section("templates").texts() if "templates" in top.values else {}
    templates = {name: _beside(file, f"templates.{name}", text) for name, text in texts.items()}
    command = [_word(file, word, templates) for word in top.words("command")]
    readers, outputs = _outputs(top.section("outputs"))
    files = [*templates.values(), *(Path(word) for word in command if Path(word).is_absolute() and Path(word).is_file())]
    try:
        return executable(
            command,
            space=Space({name: parameter(section) for name, section in top.section("parameters").sections().items()}),
            outputs=outputs,
            read=readers,
            name=top.need("name", str),
            version=top.get("version", str, None) or _hash(content, files),
            templates=templates,
            limit_s=top.get("limit_s", float, None),
            references=top.words("references") if "references" in top.values else (),
        )
    except UsageError as error:
        raise UsageError(str(error) if str(file) in str(error) else f"'{file}': {error}") from None


def parameter(p: Section) -> Parameter:
    """The parameter that a table describes."""
    p.only("kind", "low", "high", "log", "options", "unit")
    unit = p.get("unit", str, "1")
    kind = p.get("kind", str, "choice" if "options" in p.values else "real")
    try:
        match kind:
            case "choice":
                return Choice(tuple(p.words("options")), unit=unit)
            case "integer":
                return Integer(p.need("low", int), p.need("high", int), unit=unit)
            case "real":
                return Real(p.need("low", float), p.need("high", float), log=p.get("log", bool, False), unit=unit)
    except UsageError as error:
        raise UsageError(str(error) if str(p.file) in str(error) else f"'{p.file}', key '{p.key}': {error}") from None
    p.wrong("kind", "real, integer or choice", kind)


def _outputs(section: Section) -> tuple[dict[str, Reader], list[Output]]:
    readers, outputs = {}, []
    for name, o in section.sections().items():
        o.only(*OUTPUT, "file", *_READERS, "last", "skip", "separator")
        readers[name] = _reader(o)
        outputs.append(output(name, o))
    if not outputs:
        raise UsageError(f"'{section.file}', key '{section.key}': wanted at least one output, found none.")
    return readers, outputs


def output(name: str, o: Section) -> Output:
    """The output that a table describes."""
    return Output(
        name=name,
        shape=_shape(o),
        unit=o.get("unit", str, "1"),
        scale=_scale(o),
        scale_floor=o.get("scale_floor", float, 0.0),
        derived=o.get("derived", bool, False),
    )


def _reader(o: Section) -> Reader:
    ways = [way for way in _READERS if way in o.values]
    if len(ways) != 1:
        raise UsageError(
            f"'{o.file}', key '{o.key}': how it is read is said by one of pattern (a regular expression), json (a path) and column "
            f"(a number, from 0), found {' and '.join(ways) or 'none'}."
        )
    o.only(*OUTPUT, "file", *_READERS, *{"pattern": ("last",), "json": (), "column": ("skip", "separator")}[ways[0]])
    match ways[0]:
        case "pattern":
            return Pattern(o.need("pattern", str), file=o.get("file", str, "stdout"), last=o.get("last", bool, False))
        case "json":
            return Json(o.need("json", str), file=o.get("file", str, "stdout"))
    separator = o.get("separator", str, None)
    return Columns(o.get("file", str, "stdout"), o.need("column", int), skip=o.get("skip", int, 0), separator=separator)


def _shape(o: Section) -> tuple[int, ...]:
    """A length, or a list of them; nothing for a number."""
    shape = o.values.get("shape", [])
    sizes = [shape] if isinstance(shape, int) else shape
    if not isinstance(sizes, list) or not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        o.wrong("shape", "a length such as 64, or lengths such as [8, 8]", shape)
    return tuple(sizes)


def _scale(o: Section) -> Any:
    scale = o.values.get("scale", "rms")
    if scale in ("rms", "mean") or (isinstance(scale, int | float) and not isinstance(scale, bool) and scale > 0):
        return scale
    o.wrong("scale", '"rms", "mean" or a number above 0', scale)


def _word(file: Path, word: str, templates: Mapping[str, Path]) -> str:
    """A word of the command: a file beside the TOML by its path, since a run has a folder of its own; all else as it stands."""
    beside = file.parent / word
    return str(beside.resolve()) if word and word not in templates and beside.is_file() else word


def _beside(file: Path, key: str, name: str) -> Path:
    template = file.parent / name
    if not template.is_file():
        raise UsageError(f"'{file}', key '{key}': wanted a template file, found no '{name}' beside it. Give its path from there.")
    return template


def _hash(content: bytes, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in (content, *(file.read_bytes() for file in files)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]
