"""Is a folder on a disk of this machine, or on a file system that other hosts share? Told by its type in mountinfo.

SQLite's write-ahead log lives in memory that processes of one host share, so it is unsafe across hosts. A type that we
do not know counts as shared: slower, never wrong. Source: proc(5), /proc/[pid]/mountinfo.
"""

from __future__ import annotations

import re
from pathlib import Path

LOCAL = frozenset(["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "reiserfs", "tmpfs", "ramfs", "overlay"])


def is_shared(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """True unless the folder lies on a file system that is known to be local."""
    try:
        table = mountinfo.read_text(errors="surrogateescape")
    except OSError:
        return True
    return type_of(folder.resolve(), table) not in LOCAL


def type_of(folder: Path, table: str) -> str:
    """File system type of the mount that covers an absolute path: the deepest one, the latest of equals."""
    deepest, found = -1, "unknown"
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if folder.is_relative_to(mount) and len(mount.parts) >= deepest:
            deepest, found = len(mount.parts), right.split()[0]
    return found
