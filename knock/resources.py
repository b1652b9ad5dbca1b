"""What the host is, by psutil."""

import os
import platform
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The host at one moment.

    ``cpu_count`` counts logical cores, ``physical_cpu_count`` physical ones, None where unknown.
    ``load_average`` over 1, 5 and 15 minutes. ``memory_available_bytes`` is what processes could
    still get without swapping.
    """

    cpu_count: int
    physical_cpu_count: int | None
    load_average: tuple[float, float, float]
    memory_total_bytes: int
    memory_available_bytes: int
    platform: str
    python: str


def host_facts() -> HostFacts:
    """Look at the host now."""
    import psutil  # noqa: PLC0415 - costs 10 ms, and most programs never ask

    memory = psutil.virtual_memory()
    return HostFacts(
        cpu_count=os.cpu_count() or 1,
        physical_cpu_count=psutil.cpu_count(logical=False),
        load_average=psutil.getloadavg(),
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        platform=platform.platform(terse=True),
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )
