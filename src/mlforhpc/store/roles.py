"""What the columns of a table of runs mean: parameters, outputs with their standard errors, and what an export puts beside them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.core.space import Choice, Integer, Parameter, Real, Space
from mlforhpc.store.sheet import Sheet, as_number, natural

EXPORT = ("key", "simulation", "version", "fidelity", "seed", "outcome", "cost_s", "system", "reason")
SPECIAL = ("fidelity", "seed", "outcome", "cost_s", "reason")
MOST_OPTIONS = 20
_NUMBER = r"\d+(?:\.\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputColumns:
    """An output: the columns of its numbers in C order, and those of their standard errors, if any."""

    name: str
    shape: tuple[int, ...]
    titles: tuple[str, ...]
    se_titles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Who is who.

    Attributes:
        parameters: name -> title.
        outputs: in the order asked for.
        special: titles of SPECIAL that are there and nothing else.
        exported: the table has all of EXPORT, so that whole numbers in it are whole on purpose.
        left: titles that are nothing of these and have cells.
    """

    parameters: Mapping[str, str]
    outputs: tuple[OutputColumns, ...]
    special: frozenset[str]
    exported: bool
    left: tuple[str, ...]


def is_export(sheet: Sheet) -> bool:
    """Whether `export` wrote it."""
    return set(EXPORT) <= set(sheet.titles)


def roles_of(sheet: Sheet, *, outputs: Sequence[str], se: Sequence[str], parameters: Sequence[str] | None) -> Roles:
    """The columns' roles; see `importing.read_runs` for the words."""
    if not outputs:
        raise UsageError(f"Which columns of '{sheet.file}' are outputs was not said; name them with --outputs.")
    exported = is_export(sheet)
    found = _with_errors(sheet, [_output(sheet, text) for text in outputs], se)
    taken = {title for one in found for title in (*one.titles, *one.se_titles)}
    named = [o.name for o in found]
    if len(set(named)) < len(named):
        raise UsageError(f"Output '{max(named, key=named.count)}' was named twice.")
    if parameters is None:
        chosen = {title.removeprefix("parameters."): title for title in _free(sheet, taken, exported)}
    else:
        chosen = {name: name for name in parameters}
    for name, title in chosen.items():
        sheet.cells(title, "a parameter")
        if title in taken:
            raise UsageError(f"Column '{title}' of '{sheet.file}' cannot be a parameter and part of an output.")
        if name in named:
            raise UsageError(f"'{name}' cannot name a parameter and an output; rename the output: --outputs NEW={title}.")
    if not chosen:
        raise UsageError(f"'{sheet.file}' has no column left for a parameter; it has {', '.join(sheet.titles)}.")
    special = frozenset(t for t in SPECIAL if t in sheet.titles and t not in taken and t not in chosen.values())
    used = {*taken, *chosen.values(), *special, *(EXPORT if exported else ())}
    rest = tuple(title for title, cells in sheet.columns.items() if title not in used and any(cell is not None for cell in cells))
    return Roles(parameters=chosen, outputs=tuple(found), special=special, exported=exported, left=rest)


def _free(sheet: Sheet, taken: set[str], exported: bool) -> list[str]:
    """Titles of parameters, where none were named: all that are nothing else.

    In an export they stand between `version` and `fidelity`, together with the settings and with parameters of other simulations,
    which are empty here; a number that is the same in every row is taken for a setting.
    """
    if not exported:
        return [title for title in sheet.titles if title not in taken and title not in SPECIAL]
    first, last = sheet.titles.index("version"), sheet.titles.index("fidelity")
    between = [title for title in sheet.titles[first + 1 : last] if title not in taken and not title.startswith("settings.")]
    there = [title for title in between if any(cell is not None for cell in sheet.columns[title])]
    return [t for t in there if sheet.are_whole(t) or not sheet.are_numbers(t) or len(set(sheet.columns[t])) > 1]


def space_of(sheet: Sheet, roles: Roles, given: Mapping[str, Parameter]) -> tuple[Space, list[str]]:
    """The parameters' space, and what was decided from the data."""
    unknown = next((name for name in given if name not in roles.parameters), None)
    if unknown:
        known = list(roles.parameters)
        raise UsageError(f"There is no parameter '{unknown}' in '{sheet.file}'; it has {', '.join(known)}.{suggestion(unknown, known)}")
    found = {name: given.get(name) or _inferred(sheet, title, roles.exported) for name, title in roles.parameters.items()}
    taken = [f"{name} {_words(p)}" for name, p in found.items() if name not in given]
    notes = [f"Bounds from the data, as they were not given: {'; '.join(taken)}."] if taken else []
    if roles.left:
        notes.append(f"Columns that were left out: {', '.join(roles.left)}.")
    return Space(found), notes


def _inferred(sheet: Sheet, title: str, exported: bool) -> Parameter:
    if not sheet.are_numbers(title):
        options = sorted({str(cell) for cell in sheet.columns[title] if cell is not None})
        if len(options) > MOST_OPTIONS and 2 * len(options) > len(sheet):
            raise UsageError(
                f"'{sheet.file}', column '{title}': {len(options)} different texts in {len(sheet)} rows are no options of a parameter. "
                "Name the columns that are parameters with --parameters."
            )
        return Choice(tuple(options))
    for i, cell in enumerate(sheet.columns[title]):
        if (number := as_number(cell)) is None or (cell is not None and not np.isfinite(number)):
            raise sheet.wrong(title, i, "a number, as in the other rows", f"If it is an option: --parameter {title}=a,b,c.")
    values = sheet.numbers(title)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if exported and sheet.are_whole(title):
        return Integer(int(low), int(high))
    if low == high:
        raise UsageError(
            f"'{sheet.file}', column '{title}': it is {low:g} in every row, so that nothing can be learned about it. "
            "Name the other parameters with --parameters, or state its bounds with --parameter."
        )
    return Real(low, high)


def _words(p: Parameter) -> str:
    return "one of " + ", ".join(p.options) if isinstance(p, Choice) else f"{p.low:g} to {p.high:g}"


def _output(sheet: Sheet, text: str) -> OutputColumns:
    """The columns that "name" or "name=columns" means."""
    name, given, columns = (part.strip() for part in text.partition("="))
    if not name or (given and not columns):
        raise UsageError(f"An output is a column or NAME=COLUMNS, found '{text}'.")
    if given:
        return _columns(sheet, name, columns)
    for title in (name, f"outputs.{name}"):
        if title in sheet.columns:
            return OutputColumns(name=name, shape=(), titles=(title,))
    indexed = {tuple(map(int, m[1].split(","))): t for t in sheet.titles if (m := re.fullmatch(rf"{re.escape(name)}\[([\d,]+)\]", t))}
    if not indexed:
        near = suggestion(name, sheet.titles)
        raise UsageError(f"'{sheet.file}' has no column '{name}' and no columns '{name}[0]', ... for output '{name}'.{near}")
    shape = tuple(max(index) + 1 for index in zip(*indexed, strict=True))
    places = list(itertools.product(*map(range, shape)))
    lost = next((place for place in places if place not in indexed), None)
    if lost is not None:
        raise UsageError(f"'{sheet.file}' lacks the column '{name}[{','.join(map(str, lost))}]' of output '{name}', of shape {shape}.")
    return OutputColumns(name=name, shape=shape, titles=tuple(indexed[place] for place in places))


def _columns(sheet: Sheet, name: str, columns: str) -> OutputColumns:
    """NAME=column, NAME=first..last, or NAME=pattern with * for a number."""
    if ".." in columns:
        ends = [re.fullmatch(r"(.*?)(\d+)(\D*)", end.strip()) for end in columns.split("..", 1)]
        first, last = ends[0], ends[1]
        if not first or not last or (first[1], first[3]) != (last[1], last[3]) or int(first[2]) >= int(last[2]):
            raise UsageError(f"A range of columns looks like 'p0..p63', found '{columns}' for output '{name}'.")
        width = len(first[2]) if len(first[2]) == len(last[2]) else 0
        titles = [f"{first[1]}{i:0{width}d}{first[3]}" for i in range(int(first[2]), int(last[2]) + 1)]
        for title in titles:
            sheet.cells(title, f"part of output '{name}'")
        return OutputColumns(name=name, shape=(len(titles),), titles=tuple(titles))
    if "*" in columns:
        pattern = re.compile(_NUMBER.join(re.escape(part) for part in columns.split("*")))
        titles = sorted((t for t in sheet.titles if pattern.fullmatch(t)), key=natural)
        if len(titles) < 2:
            raise UsageError(
                f"'{sheet.file}': at least two columns '{columns}' (* stands for a number) were wanted for output '{name}', found "
                f"{', '.join(titles) or 'none'}."
            )
        return OutputColumns(name=name, shape=(len(titles),), titles=tuple(titles))
    sheet.cells(columns, f"output '{name}'")
    return OutputColumns(name=name, shape=(), titles=(columns,))


def _with_errors(sheet: Sheet, outputs: list[OutputColumns], se: Sequence[str]) -> list[OutputColumns]:
    """Outputs with the columns of their standard errors: those that were named, else those titled "<column>.se"."""
    names = [o.name for o in outputs]
    named: dict[str, str] = {}
    for i, text in enumerate(se):
        name, given, columns = (part.strip() for part in text.partition("="))
        if not given:
            if i >= len(outputs):
                raise UsageError(f"There are {len(outputs)} outputs and {len(se)} columns of standard errors, '{text}' is one too many.")
            name, columns = names[i], text
        if name not in names:
            raise UsageError(f"Standard errors were given for '{name}', which is no output.{suggestion(name, names)}")
        named[name] = columns
    found = []
    for one in outputs:
        titles = tuple(f"{title}.se" for title in one.titles)
        if one.name in named:
            columns = named[one.name]
            titles = (_columns(sheet, one.name, columns) if re.search(r"\.\.|\*", columns) else _output(sheet, columns)).titles
            if len(titles) != len(one.titles):
                raise UsageError(f"Output '{one.name}' has {len(one.titles)} columns, its standard errors '{columns}' have {len(titles)}.")
        elif not all(title in sheet.columns for title in titles):
            titles = ()
        found.append(OutputColumns(name=one.name, shape=one.shape, titles=one.titles, se_titles=titles))
    return found
