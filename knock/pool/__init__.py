"""Worker processes: what starts, feeds, watches and buries them, and what they run."""

from knock.pool.mechanism import check_needed

# Before anything else of this package: its modules take functions of the system at their import.
check_needed()
