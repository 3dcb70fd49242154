"""The engines of the guide keep the contract: the guide's code, checks included, runs as it stands."""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path

import pytest

from mlforhpc.testing.engines import CHECKS, ENDING, Kept

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-an-engine.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
FARM = next(block for block in BLOCKS if block.startswith("# farm.py"))


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """The module of the guide, where the gateway and its workers can import it; and one of its engines."""
    folder = tmp_path_factory.mktemp("farm")
    (folder / "farm.py").write_text(FARM, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
        module = importlib.import_module("farm")
        engine = module.create(2)
        yield module, Kept(engine)
        engine.shutdown()
        del sys.modules["farm"]


@pytest.mark.system
def test_the_guide_runs():
    """All blocks on an engine of one's own, one after another, as one script."""
    exec(compile("\n".join(block for block in BLOCKS if block is not FARM), GUIDE.name, "exec"), {"__name__": "guide"})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_farm_keeps_the_contract(check, farm):
    """See the check's docstring."""
    module, engine = farm
    check((lambda: module.create(2)) if check in ENDING else lambda: engine)
