"""What a job changed of its process, put back before the next job starts.

Only what costs next to nothing to look at, since this is done after each job, and what no job can
want to leave to others: see ``knock/pool/thorough.py`` for the rest. Modules, globals, environment
and threads stay: initializers and libraries live by them.
"""

import _signal  # type: ignore[import-not-found]
import os
import signal
from collections.abc import Iterator, Sequence

from knock.pool.stream import StandardStreams

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = sorted(map(int, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))
_SIG_BLOCK, _SIG_SETMASK = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)
# A handler that a job left may raise at any point here, once for each signal that has come.
_TRIES = 8
_NOTHING: tuple[str, ...] = ()
# Taken at import: a job may put its own functions in their place. Those of ``signal`` make enums
# of all numbers, which takes 20 times as long.
_getsignal, _set_signal, _sigmask = _signal.getsignal, _signal.signal, _signal.pthread_sigmask
_setitimer, _getitimer, _set_wakeup_fd = (
    _signal.setitimer,
    _signal.getitimer,
    _signal.set_wakeup_fd,
)
_sigpending, _sigtimedwait = _signal.sigpending, _signal.sigtimedwait
_getcwd, _chdir, _umask = os.getcwd, os.chdir, os.umask


class Tidy:
    """Knows what the process was like when this was made, and makes it so again.

    To be made and used by the main thread.
    """

    def __init__(self) -> None:
        # A profiler that the initializer has started goes on.
        self._timers = [int(timer) for timer in _TIMERS if not any(_getitimer(timer))]
        self._mask = _sigmask(_SIG_BLOCK, ())
        self._handlers = list(map(_getsignal, _SIGNALS))
        self._wakeup_fd = _set_wakeup_fd(-1)
        _set_wakeup_fd(self._wakeup_fd)
        self._umask = _umask(0)
        _umask(self._umask)
        self._directory = _here()
        self._streams = StandardStreams()

    def stop_timers(self) -> None:
        """Stop the interval timers of a job that has ended: their signals would hit anything.

        Raises whatever the job's handler of a signal raises that has come already.
        """
        for timer in self._timers:
            _setitimer(timer, 0)

    def calm(self) -> None:
        """Stop the timers, whatever the job's handlers raise."""
        for _ in range(_TRIES):
            try:
                self.stop_timers()
            except BaseException:  # noqa: BLE001, S112 - user code, too late to count
                continue
            return

    def restore(self) -> Sequence[str]:
        """Put everything back; return what could not be, as something that a job did."""
        try:
            # Nothing is called here that need not be: this is all that most jobs give cause for.
            _umask(self._umask)
            if (
                _sigmask(_SIG_BLOCK, _NOTHING) == self._mask
                and list(map(_getsignal, _SIGNALS)) == self._handlers
                and _getcwd() == self._directory
                and self._streams.are_as_they_were()
            ):
                return _NOTHING
        except BaseException:  # noqa: BLE001 - there is no directory, or a handler raises
            pass
        return self._restore_firmly()

    def _restore_firmly(self) -> list[str]:
        for _ in range(_TRIES):
            try:
                return list(self._restore())
            except BaseException:  # noqa: BLE001, S112 - as in ``calm``
                continue
        return ["left a signal handler that raises"]

    def _restore(self) -> Iterator[str]:
        _umask(self._umask)
        self._restore_mask()
        yield from self._restore_handlers()
        if self._directory is not None and _here() != self._directory:
            try:
                _chdir(self._directory)
            except OSError:
                yield "removed the working directory"
        yield from self._streams.restore()

    def _restore_mask(self) -> None:
        # What the job has blocked and what has come since is nobody's any more: unblocked, it would
        # end the process.
        blocked = _sigmask(_SIG_BLOCK, ()) - self._mask
        while _sigtimedwait(blocked & _sigpending(), 0) is not None:
            pass
        _sigmask(_SIG_SETMASK, self._mask)

    def _restore_handlers(self) -> Iterator[str]:
        for number, handler in zip(_SIGNALS, self._handlers, strict=True):
            if _getsignal(number) is handler:
                continue
            if handler is None:
                yield f"took {signal.strsignal(number) or number} from C code"
            else:
                _set_signal(number, handler)
        # An event loop sets both.
        _set_wakeup_fd(self._wakeup_fd)


def _here() -> str | None:
    try:
        return _getcwd()
    except OSError:  # it was removed
        return None
