"""What a pool needs to know to start workers."""

from dataclasses import dataclass

from knock.config import Isolation, StartMethod
from knock.protocol.message import BootSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How workers are started and what they know from the start. Picklable.

    ``definitions`` is one dump of initializer and processors. ``preload`` are modules that the
    nursery imports before it forks. ``thread_cap`` bounds the numeric thread pools of each worker,
    where the user has not set their variables; 0 leaves them alone. ``boot_timeout`` in seconds.
    ``log_levels`` are the caller's, see ``BootSettings``; None leaves the workers' log alone.
    ``captures``: what jobs write to standard output and error is kept with their attempts.
    ``isolation``: what is put back after each job; that a worker ends after its first one, as
    "fresh" wants it, is for its supervisor to see to.
    """

    definitions: bytes
    start_method: StartMethod = "forkserver"
    preload: tuple[str, ...] = ()
    sys_path: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    thread_cap: int = 0
    log_levels: tuple[tuple[str, int], ...] | None = None
    captures: bool = False
    boot_timeout: float = 300.0
    isolation: Isolation = "shared"

    def boot(self, capture: str | None, capped: tuple[str, ...] = ()) -> BootSettings:
        """Return what a worker is told at its start; ``capture`` is the secret of its output.

        ``capped``: see ``Surroundings``.
        """
        return BootSettings(
            sys_path=self.sys_path or None,
            argv=self.argv or None,
            log_levels=self.log_levels,
            capture=capture,
            isolation=self.isolation,
            capped=capped,
        )
