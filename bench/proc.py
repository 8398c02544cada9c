"""What a process and all its children use, read from Linux's /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
IDLE_CPU = 0.02  # seconds of CPU a second under which a tree counts as idle
SETTLE_SECONDS = 60


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        found.append(parent)
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            todo += map(int, _read(task).split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, including children that have ended."""
    ticks = 0
    for member in tree(pid):
        # The command's name stands in parentheses and may hold spaces; field 3 follows it. Fields 14 to 17 are utime,
        # stime, cutime and cstime (proc(5)).
        fields = _read(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def cpu_clock(pid: int) -> float:
    """User and system time of one process, its threads together, to the microsecond."""
    return time.clock_gettime(~pid << 3 | 2)  # Linux's name for that clock of another process (clock_getcpuclockid(3))


def resident_bytes(pid: int) -> int:
    pages = (_read(Path(f"/proc/{member}/statm")).split() for member in tree(pid))
    return sum(int(fields[1]) for fields in pages if fields) * PAGE_BYTES


def settle(pid: int) -> None:
    """Waits until the tree has been idle for a second, so that work it put off is counted too."""
    before = cpu_seconds(pid)
    for _ in range(SETTLE_SECONDS):
        time.sleep(1)
        now = cpu_seconds(pid)
        if now - before < IDLE_CPU:
            return
        before = now


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""
