"""Colours of the report: matplotlib draws in sentinels, the page replaces them by CSS variables, so one drawing serves both themes.

The six series colours were searched for in OKLCH: contrast at least 3 against the surface, and differences of at least
ten (100 x OKLab) between any two of them for normal, protan, deutan and tritan vision (Machado et al. 2009,
doi 10.1109/TVCG.2009.113). `tests/report/test_palette.py` holds them to it.
"""

from __future__ import annotations

LIGHT: dict[str, str] = {
    "surface": "#ffffff",
    "page": "#f4f5f7",
    "ink": "#15181c",
    "muted": "#565f6a",
    "line": "#d9dde2",
    "grid": "#e6e9ed",
    "good": "#17693a",
    "bad": "#a8231f",
    "accent": "#1a5ea3",
    "series-1": "#1a66b0",
    "series-2": "#df7814",
    "series-3": "#4ba195",
    "series-4": "#810251",
    "series-5": "#825800",
    "series-6": "#9f7df3",
}
DARK: dict[str, str] = {
    "surface": "#16191d",
    "page": "#0d0f12",
    "ink": "#eceff2",
    "muted": "#a3adb8",
    "line": "#343a42",
    "grid": "#2a3037",
    "good": "#5fd08f",
    "bad": "#ff8d85",
    "accent": "#8fb4ff",
    "series-1": "#4c7be6",
    "series-2": "#db6700",
    "series-3": "#34dcaf",
    "series-4": "#aa5a90",
    "series-5": "#eab51e",
    "series-6": "#bea2ff",
}
SERIES = 6
KIND_COLOUR: dict[str, str] = {
    "simulate": "series-1",
    "learn": "series-2",
    "infer": "series-3",
    "prepare": "series-4",
    "move": "series-5",
    "decide": "series-6",
}

_SENTINEL = {name: f"#fe{i:02x}01" for i, name in enumerate(LIGHT, start=16)}


def sentinel(name: str) -> str:
    """The colour that matplotlib draws in for the CSS variable `--name`."""
    return _SENTINEL[name]


def to_variables(svg: str) -> str:
    """Replace every sentinel by its CSS variable."""
    for name, colour in _SENTINEL.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def css(theme: dict[str, str]) -> str:
    """The declarations of a theme."""
    return "".join(f"--{name}:{value};" for name, value in theme.items())
