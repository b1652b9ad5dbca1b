"""Lines that jobs logged, in their caller's log."""

import logging
import traceback

from knock.supervisor.messages import Logged

_logger = logging.getLogger("knock.job")


def log_lines(logged: Logged) -> None:
    """Log what jobs logged under ``knock.job``, with the job's id, type and attempt as extras."""
    if logged.dropped:
        _logger.warning("%d lines of jobs were dropped: too many at once", logged.dropped)
    for entry in logged.entries:
        if not _logger.isEnabledFor(entry.level):
            continue
        try:
            _logger.log(
                entry.level,
                "job %d (%s): %s",
                entry.job_id,
                entry.job_type,
                entry.text,
                extra={
                    "job_id": entry.job_id,
                    "job_type": entry.job_type,
                    "attempt": entry.attempt,
                },
            )
        except Exception:  # noqa: BLE001 - a handler of the user's; the next line is not to suffer
            traceback.print_exc()
