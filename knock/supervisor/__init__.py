"""The supervisor: waits, asks the core, obeys; and the ways by which callers talk to it."""
