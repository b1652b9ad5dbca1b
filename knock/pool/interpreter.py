"""How a fresh interpreter is started that finds this very knock."""

import os
import sys


def interpreter_command(code: str) -> list[str]:
    """Return the command for a fresh interpreter like this one that finds this very knock.

    Isolated (-I), so that nothing in the working directory or the environment takes the place of
    a module; what the caller was told on its command line is passed on.
    """
    options = ["-I", *["-O"] * sys.flags.optimize, *[f"-W{w}" for w in sys.warnoptions]]
    if sys.dont_write_bytecode:
        options.append("-B")
    named = dict(sys._xoptions)
    if sys.flags.dev_mode:
        named["dev"] = True
    if sys.flags.utf8_mode:
        named["utf8"] = "1"
    if sys.pycache_prefix is not None:
        named["pycache_prefix"] = sys.pycache_prefix
    for name, value in named.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # What only the caller's path has (a package that knock needs may be there) comes last.
    path = [os.path.abspath(entry) for entry in sys.path if entry]
    find = f"""
{root!r} in sys.path or sys.path.insert(0, {root!r})
sys.path += [entry for entry in {path!r} if entry not in sys.path]
"""
    return [sys.executable, *options, "-c", f"import sys{find}{code}"]
