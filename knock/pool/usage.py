"""What an attempt uses: time, CPU and memory, measured in its worker at next to no cost.

The peak of the resident size is the kernel's own high-water mark: writing "5" to
``/proc/self/clear_refs`` sets it back (proc(5)), 0.8 microseconds on a descriptor kept open, at
any heap size. ``ru_maxrss`` is the quick way to read it, but after an exec it starts at what the
*parent* had and no reset lowers it; a probe at start-up finds out, and then VmHWM is read.
"""

import mmap
import os
import resource
import sys
from time import monotonic_ns, process_time_ns

from knock.pool.descriptor import identity, out_of_the_way
from knock.pool.mechanism import has
from knock.protocol.attempt import Measured

# Jobs shorter than this share one reading of the memory.
SAMPLE_NS = 1_000_000

_PROBE_BYTES = 4 << 20
_PAGE_BYTES = resource.getpagesize()
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
# Taken at import: a job may put its own functions in their place.
_getrusage = resource.getrusage
_pread = os.pread
_write = os.write


class UsageMeter:
    """Measures one attempt after the other: ``begin``, then ``end``."""

    def __init__(self) -> None:
        # Without it a peak is known only as far as a reading shows it, and is not called exact.
        has_reset = has("clear_refs")
        self._clear_refs = _open("/proc/self/clear_refs", os.O_WRONLY) if has_reset else None
        self._clear_refs_identity = None if self._clear_refs is None else identity(self._clear_refs)
        self._statm = _open("/proc/self/statm", os.O_RDONLY)
        self._status = _open("/proc/self/status", os.O_RDONLY)
        self._is_maxrss_true = self._probe()
        self._children_cpu_ns, self._children_peak = _children()
        self._started = self._cpu = 0
        self._sampled_at = 0
        self._is_sampled = False
        self._before = self._rss()
        self._peak = self._before

    def _probe(self) -> bool:
        """Whether a reset lowers ``ru_maxrss``."""
        if self._clear_refs is None:
            return False
        with mmap.mmap(-1, _PROBE_BYTES) as pages:
            for start in range(0, _PROBE_BYTES, _PAGE_BYTES):
                pages[start] = 1
        before = _maxrss()
        self._reset()
        return _maxrss() <= before - _PROBE_BYTES // 2

    def begin(self) -> None:
        """Start an attempt."""
        self._started = now = monotonic_ns()
        self._is_sampled = now - self._sampled_at >= SAMPLE_NS
        if self._is_sampled:
            self._sampled_at = now
            self._reset()
            self._peak = self._before = self._rss()
        self._cpu = process_time_ns()

    def end(self, processes: int = 0, threads: int = 0) -> Measured:
        """End the attempt and tell what it used; it left so many processes and threads behind."""
        cpu = process_time_ns() - self._cpu
        wall = monotonic_ns() - self._started
        if not self._is_sampled and wall < SAMPLE_NS:
            known, before = self._peak, self._before
            return Measured(self._started, wall, cpu, known, before, False, processes, threads)
        known = self._peak
        self._peak = max(known, self._high_water())
        # Without a reset of its own, only a mark higher than the one known is this attempt's.
        is_exact = (self._is_sampled or self._peak > known) and self._clear_refs is not None
        peak = self._peak
        if wall >= SAMPLE_NS:
            spent, children_peak = self._children_since()
            cpu += spent
            is_exact = is_exact and not (spent and not children_peak)
            peak = max(peak, children_peak)
        before = self._before
        return Measured(self._started, wall, cpu, peak, before, is_exact, processes, threads)

    def _children_since(self) -> tuple[int, int]:
        """CPU of the children waited for since the last time; their peak, 0 if not known.

        The kernel keeps the highest peak of all children ever: a lower one cannot be seen.
        """
        cpu_ns, peak = _children()
        spent = cpu_ns - self._children_cpu_ns
        is_higher = peak > self._children_peak
        self._children_cpu_ns, self._children_peak = cpu_ns, peak
        return spent, peak if is_higher else 0

    def _reset(self) -> None:
        if self._clear_refs is not None:
            try:
                if identity(self._clear_refs) == self._clear_refs_identity:
                    _write(self._clear_refs, b"5")
                    return
            except OSError:  # a job closed it
                pass
            # Or it is a file of the job's own by now.
            self._clear_refs = None

    def _rss(self) -> int:
        if self._statm is None:
            return 0
        try:
            return int(_pread(self._statm, 128, 0).split()[1]) * _PAGE_BYTES
        except (OSError, ValueError, IndexError):  # a job closed it, or opened another in its place
            self._statm = None
            return 0

    def _high_water(self) -> int:
        if self._is_maxrss_true:
            return _maxrss()
        if self._clear_refs is None or self._status is None:
            return self._rss()
        try:
            text = _pread(self._status, 4096, 0)
            start = text.index(b"VmHWM:") + 6
            return int(text[start : text.index(b"kB", start)]) * 1024
        except (OSError, ValueError):  # as above
            self._status = None
            return 0


def _open(path: str, flags: int) -> int | None:
    try:
        return out_of_the_way(os.open(path, flags | os.O_CLOEXEC))
    except OSError:
        return None


def _maxrss() -> int:
    return _getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _children() -> tuple[int, int]:
    usage = _getrusage(resource.RUSAGE_CHILDREN)
    cpu = usage.ru_utime + usage.ru_stime
    return int(cpu * 1e9), usage.ru_maxrss * _MAXRSS_UNIT
