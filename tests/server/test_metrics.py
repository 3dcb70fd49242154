"""/metrics: read by the official parser, and in agreement with the status."""

from __future__ import annotations

import time

from prometheus_client.parser import text_string_to_metric_families


def families(running):
    """Name -> family."""
    status, headers, said = running.call("GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(said.decode())}


def value(found, family, sample=None, **labels):
    """The value of one sample."""
    (one,) = [s.value for s in found[family].samples if s.name == (sample or family) and labels.items() <= s.labels.items()]
    return one


def test_figures_agree_with_the_status(running):
    """Answers by source, audits, promise, threshold, fits and growth of each model."""
    named, _ = running.points("borehole", 50, seed=3)
    assert running.infer("borehole", named)[0] == 200
    found, status = families(running), running.service.onlines["borehole"].status()
    for source, count in status.answers.items():
        assert value(found, "mlforhpc_answers", "mlforhpc_answers_total", model="borehole", source=source) == count
    assert value(found, "mlforhpc_tolerance", model="borehole") == status.tolerance
    assert value(found, "mlforhpc_open_threshold", model="borehole") == status.open_threshold > 0
    assert value(found, "mlforhpc_fits", "mlforhpc_fits_total", model="borehole") == status.fits > 0
    assert value(found, "mlforhpc_broken_limit", model="borehole") == status.broken_limit <= 1
    assert value(found, "mlforhpc_surrogate_info", model="borehole", version=status.surrogate_version) == 1
    assert value(found, "mlforhpc_slots") == 2
    assert found["process_resident_memory_bytes"].samples[0].value > 1e6


def test_what_is_not_known_is_absent(running):
    """A simulation that nobody asked has no gain, not a gain of zero."""
    assert running.service.onlines["plate"].status().surrogate_version == ""
    gains = families(running)["mlforhpc_broken_limit"].samples
    assert "plate" not in {sample.labels["model"] for sample in gains}


def test_latencies_are_a_histogram_by_whether_a_simulation_ran(running):
    """An inference adds one to its class and to those above."""
    named, _ = running.points("borehole", 1, seed=5)

    def count(found):
        return value(found, "mlforhpc_infer_seconds", "mlforhpc_infer_seconds_count", model="borehole", simulated="no")

    before = families(running)
    assert running.infer("borehole", named, parameters={"source": "surrogate"})[0] == 200
    after = families(running)
    assert count(after) == count(before) + 1
    buckets = [
        s.value
        for s in after["mlforhpc_infer_seconds"].samples
        if s.labels.get("le") and s.labels["simulated"] == "no" and s.labels["model"] == "borehole"
    ]
    assert buckets == sorted(buckets) and buckets[-1] == count(after)


def test_the_size_of_the_store_is_that_of_the_records_page(running):
    """Counted beside the server's process."""
    used = running.ask("GET", "/v1/records/usage")[1]["used_bytes"]
    assert value(families(running), "mlforhpc_store_bytes") == used > 0


def test_a_scrape_is_quick(running):
    """It runs on the event loop: a few milliseconds at most, in the median."""
    took = []
    for _ in range(15):
        began = time.perf_counter()
        families(running)
        took.append(time.perf_counter() - began)
    assert sorted(took)[7] < 0.03
