"""Worker processes: what starts, feeds, watches and buries them, and what they run."""
