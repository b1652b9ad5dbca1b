"""What the system offers: mechanisms that are used where they are, and those that must be there.

``KNOCK_DISABLE=pidfd,memfd`` masks some of the first kind, so that what is promised without them
can be tried where they are. Whoever would use one asks first, and says there what holds without it;
``docs/platforms.md`` has the table.
"""

import importlib
import os
import signal
import sys

from knock.errors import ConfigError, UnsupportedPlatformError

VARIABLE = "KNOCK_DISABLE"
# Taken at import: a job may put a dictionary of its own in its place.
_environ = os.environ
_IS_LINUX = sys.platform == "linux"
_PRESENT = {
    "clear_refs": _IS_LINUX,
    "f_setsig": _IS_LINUX,
    "memfd": hasattr(os, "memfd_create"),
    "pdeathsig": _IS_LINUX,
    "pidfd": hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal"),
    "subreaper": _IS_LINUX,
}
MECHANISMS = tuple(_PRESENT)
# There is no way to do without these.
_NEEDED = {
    "fcntl": (),
    "os": ("eventfd", "fork", "pipe2", "register_at_fork", "setsid", "wait4", "waitid"),
    "resource": (),
    "select": ("poll",),
    "signal": ("pthread_sigmask", "setitimer", "sigtimedwait"),
    "socket": ("AF_UNIX", "MSG_CMSG_CLOEXEC", "SCM_RIGHTS", "SOCK_SEQPACKET"),
    "termios": (),
}


def has(mechanism: str) -> bool:
    """Whether the system has this mechanism, and nobody has masked it."""
    return _PRESENT[mechanism] and mechanism not in _masked()


def _masked() -> list[str]:
    return [name.strip() for name in _environ.get(VARIABLE, "").split(",")]


def check_masked() -> None:
    """Raise ``ConfigError`` if ``KNOCK_DISABLE`` names something that is no mechanism."""
    for name in _masked():
        if name and name not in _PRESENT:
            known = ", ".join(MECHANISMS)
            raise ConfigError(f"{VARIABLE} names {name!r}, which is none of {known}")


def check_needed() -> None:
    """Raise ``UnsupportedPlatformError`` if the system lacks what nothing can replace."""
    missing = [
        name for module, attributes in _NEEDED.items() for name in _missing_of(module, attributes)
    ]
    if missing:
        raise UnsupportedPlatformError(
            f"knock needs {', '.join(missing)}, which this platform ({sys.platform}) lacks"
        )


def _missing_of(module: str, attributes: tuple[str, ...]) -> list[str]:
    try:
        there = importlib.import_module(module)
    except ImportError:
        return [f"the module {module}"]
    return [f"{module}.{name}" for name in attributes if not hasattr(there, name)]
