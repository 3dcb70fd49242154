"""The clock of a campaign: unix time that never steps. Anchored once, it then follows the monotonic clock:

    now_ns = monotonic_ns + offset_ns
Slots get the driver's offset, so that times taken in different processes of one host agree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


def _anchor() -> int:
    return time.time_ns() - time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Clock:
    """Unix nanoseconds, immune to steps of the wall clock.

    Attributes:
        offset_ns: unix time minus monotonic time, at the anchor.
    """

    offset_ns: int = field(default_factory=_anchor)

    def now_ns(self) -> int:
        """Unix time in ns."""
        return time.monotonic_ns() + self.offset_ns
