"""LoadGen's summary and responses, as LoadGen wrote them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from mlforhpc.metrics.loadgen import read_responses, read_summary, relative_error

SINGLE_STREAM = """
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : SingleStream
Mode     : PerformanceOnly
90.0th percentile latency (ns) : 7431
Result is : VALID
  Min duration satisfied : Yes
  Min queries satisfied : Yes
  Early stopping satisfied: Yes
Early Stopping Result:
 * Processed at least 64 queries (114867).
 * Early stopping 90.0th percentile estimate: 7431

QPS w/ loadgen overhead         : 114865.15
QPS w/o loadgen overhead        : 136035.91

Min latency (ns)                : 6700
50.00 percentile latency (ns)   : 7140
99.90 percentile latency (ns)   : 35643
"""
OFFLINE = """
Scenario : Offline
Samples per second: 323624
Result is : INVALID
  Min duration satisfied : NO
  Min queries satisfied : Yes
  Early stopping satisfied: Yes
Recommendations:
 * Increase expected QPS so the loadgen pre-generates a larger (coalesced) query.
"""


def test_a_valid_run_is_read():
    """Scenario, verdict, rate with LoadGen's overhead, percentiles in s."""
    said = read_summary(SINGLE_STREAM)
    assert (said.scenario, said.valid, said.complaints, said.rate_per_s) == ("SingleStream", True, (), 114865.15)
    assert said.latency_s == {50.0: 7140e-9, 99.9: 35643e-9}


def test_an_invalid_run_says_what_was_not_satisfied():
    """Whatever LoadGen writes behind NO; a run is INVALID by its own line, not by ours."""
    said = read_summary(OFFLINE)
    assert (said.valid, said.complaints, said.rate_per_s) == (False, ("Min duration satisfied",), 323624.0)
    assert read_summary(OFFLINE.replace("INVALID", "VALID")).valid


def test_a_log_without_a_verdict_is_refused():
    """LoadGen was killed before it wrote one."""
    with pytest.raises(ValueError, match="did not end"):
        read_summary(SINGLE_STREAM.replace("Result is : VALID", ""))


def test_responses_are_float64_in_hex():
    """Index in the library and numbers, one row a response."""
    rows = ",\n".join(f'{{ "seq_id" : 5, "qsl_idx" : {i}, "data" : "{struct.pack("<2d", i, 0.5).hex().upper()}" }}' for i in (7, 3))
    index, values = read_responses(f"[\n{rows}\n]\n")
    assert index == [7, 3] and values.tolist() == [[7.0, 0.5], [3.0, 0.5]]
    assert read_responses("[\n]\n")[0] == []


def test_an_error_is_relative_to_its_column_and_infinite_where_nothing_is_known():
    """|2 - 1| / 10 and |3 - 2| / 4: the second is larger."""
    wanted, found, scale = np.array([[1.0, 2.0]]), np.array([[2.0, 3.0]]), np.array([10.0, 4.0])
    assert relative_error(wanted, found, scale) == 0.25
    assert math.isinf(relative_error(wanted, np.array([[1.0, np.nan]]), scale))
