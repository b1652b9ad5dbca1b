"""Kills by the kernel for want of memory, as the control group of this process counts them."""

from collections.abc import Callable


class OomWatch:
    """Tells whether the kernel has killed something in this control group (v2, or v1).

    ``read`` returns a file's text; it is replaced in tests.
    """

    def __init__(self, read: Callable[[str], str] | None = None) -> None:
        self._read = _read_text if read is None else read
        self._paths = self._find_paths()
        self._known = self._count()

    def _find_paths(self) -> list[str]:
        try:
            lines = self._read("/proc/self/cgroup").splitlines()
        except OSError:
            return []
        paths = []
        for line in lines:
            _, _, group = line.partition(":")
            controllers, _, path = group.partition(":")
            # In a container the path may be the host's: then only the root is there.
            folders = (path.rstrip("/"), "") if path.strip("/") else ("",)
            if controllers == "":
                paths += [f"/sys/fs/cgroup{folder}/memory.events" for folder in folders]
            elif "memory" in controllers.split(","):
                paths += [f"/sys/fs/cgroup/memory{f}/memory.oom_control" for f in folders]
        return paths

    def _count(self) -> int:
        for path in self._paths:
            try:
                lines = self._read(path).splitlines()
            except OSError:
                continue
            for line in lines:
                name, _, number = line.partition(" ")
                if name == "oom_kill" and number.isdecimal():
                    return int(number)
        return 0

    def take(self) -> bool:
        """Whether one more was killed than this has told of."""
        if self._count() <= self._known:
            return False
        self._known += 1
        return True


def _read_text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
