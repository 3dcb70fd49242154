"""The task of one stream of requests: a campaign of its own in a temporary folder, so that it begins with an empty store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlforhpc.campaign import Campaign
from mlforhpc.scenarios.answering import Stream, StreamJob, streamed
from mlforhpc.simulations import nanoconfinement_twin


def stream(job: StreamJob) -> Stream:
    """Follow it on the flagship's twin, against its exact truth."""
    twin = nanoconfinement_twin.create()
    with tempfile.TemporaryDirectory(prefix="mlforhpc-stream-") as place, Campaign(place, engine="serial") as campaign:
        return streamed(campaign.broker, twin, twin.truth, job, folder=Path(place) / "online")
