"""The engine of the guide keeps the contract: the guide's code, checks included, runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-an-engine.md"


def test_the_guide_runs():
    """All blocks, one after another, as one script."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    exec(compile("\n".join(blocks), GUIDE.name, "exec"), {"__name__": "guide"})
