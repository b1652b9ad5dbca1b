"""Seven ways in which a job or its caller misbehaves, and what each pool makes of it."""
