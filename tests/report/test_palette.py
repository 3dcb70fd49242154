"""The colours can be told apart and read, in both themes, by every kind of eye."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mlforhpc.report import palette

VISION = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
CONE = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
)
LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
)
THEMES = {"light": palette.LIGHT, "dark": palette.DARK}


def linear(colour: str) -> np.ndarray:
    """Linear RGB of #rrggbb, (3,)."""
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG contrast ratio, in [1, 21]."""
    dark, light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (light + 0.05) / (dark + 0.05)


def difference(a: str, b: str, vision: str) -> float:
    """Distance in OKLab, times 100."""
    seen = [LAB @ np.cbrt(CONE @ np.clip(VISION[vision] @ linear(c), 0, 1)) for c in (a, b)]
    return 100 * float(np.linalg.norm(seen[0] - seen[1]))


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_series_stand_out(theme: str) -> None:
    """Text has a contrast of 4.5, series 3, against the surface they are on."""
    colours = THEMES[theme]
    for name in ("ink", "muted", "accent", "good", "bad"):
        assert contrast(colours[name], colours["surface"]) >= 4.5
        assert contrast(colours[name], colours["page"]) >= 4.5
    for i in range(1, palette.SERIES + 1):
        assert contrast(colours[f"series-{i}"], colours["surface"]) >= 3


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", THEMES)
def test_series_can_be_told_apart(theme: str, vision: str) -> None:
    """Any two series colours differ by ten for every kind of vision."""
    series = [THEMES[theme][f"series-{i}"] for i in range(1, palette.SERIES + 1)]
    assert min(difference(a, b, vision) for a, b in combinations(series, 2)) >= 10


def test_themes_have_the_same_variables() -> None:
    """What one theme defines the other does too, and every sentinel is unlike every colour."""
    assert list(palette.LIGHT) == list(palette.DARK)
    sentinels = {palette.sentinel(name) for name in palette.LIGHT}
    assert len(sentinels) == len(palette.LIGHT)
    assert not sentinels & {*palette.LIGHT.values(), *palette.DARK.values()}
