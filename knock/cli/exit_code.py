"""Exit codes of the command, beside 0 (all went well), 1 (it did not) and 2 (wrong use)."""

INTERRUPTED = 130  # as a shell has it for a program that SIGINT ended
CANNOT_WRITE = 74  # EX_IOERR of sysexits.h
