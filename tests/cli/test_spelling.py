"""How parameters and outputs are spelt on the command line."""

from __future__ import annotations

import pytest

from mlforhpc.cli import spelling
from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("x=0:1", Real(0, 1)),
        ("x=-1e3:5E-3", Real(-1000, 0.005)),
        ("x=1e-3:10:log", Real(0.001, 10, log=True)),
        ("x=1:2:m", Real(1, 2, unit="m")),
        ("x=1:2:log:kg/m3", Real(1, 2, log=True, unit="kg/m3")),
        ("x=1:2:K:log", Real(1, 2, log=True, unit="K")),
        ("x=int:1:5", Integer(1, 5)),
        ("x=int:1:5:layers", Integer(1, 5, unit="layers")),
        ("x=steel,copper", Choice(("steel", "copper"))),
        (" x = 0 : 1 ", Real(0, 1)),
    ],
)
def test_parameters(text, parameter):
    """Numbers with bounds, logarithm and unit; whole numbers; options."""
    assert spelling.parameters([text]) == {"x": parameter}


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["x"], "found 'x'"),
        (["=0:1"], "found '=0:1'"),
        (["x=3"], "one value is no choice"),
        (["x=a:b"], "bounds are numbers"),
        (["x=1"], "NAME=LOW:HIGH"),
        (["x=2:1"], "low < high"),
        (["x=0:1:log"], "needs low > 0"),
        (["x=int:1.5:3"], "bounds are numbers"),
        (["x=1:2:m:s"], "two units, m and s"),
        (["x=0:1", "x=0:2"], "'x' was given twice"),
        (["x=int:1"], "NAME=int:LOW:HIGH"),
    ],
)
def test_misspelt_parameters(texts, sentence):
    """The sentence shows how it is spelt."""
    with pytest.raises(UsageError, match=sentence):
        spelling.parameters(texts)


def test_outputs():
    """Numbers, arrays, units, scales; a comma in brackets belongs to its output."""
    assert spelling.outputs("y, drag:N,profile[64],field[8,8]:Pa:scale=mean,z:scale=0.5") == [
        Output(name="y"),
        Output(name="drag", unit="N"),
        Output(name="profile", shape=(64,)),
        Output(name="field", shape=(8, 8), unit="Pa", scale="mean"),
        Output(name="z", scale=0.5),
    ]


@pytest.mark.parametrize("text", ["y[a]", "y:scale=big", "y:scale=-1", "y:size=3", "[3]"])
def test_misspelt_outputs(text):
    """Refused with the spelling."""
    with pytest.raises(UsageError, match=r"scale=NUMBER|a scale is"):
        spelling.outputs(text)
