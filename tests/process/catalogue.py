"""What a job can do to its worker: where it dies, how it dies, what is told of it.

A row is one fault. ``told`` are words of the cause that the job's record has. ``lives``: whether
the worker goes on; None if that depends on who is faster. ``limit`` is the job's own, in seconds. A
row that ``leaves_dirt`` may change what later jobs of that worker find, and is to harm nobody else.
A row with ``scenario`` is no job's doing, and is played by a function in
``tests/process/scenario.py``; one with ``not_run`` cannot be run here, for that reason. ``needs``
is the mechanism of the system without which knock does not promise it.
"""

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from knock.core.job import AttemptOutcome
from knock.errors import ResultDecodeError
from tests.process import hostile as h, hostile_value as v, scenario
from tests.process.hostile import Scene

ERROR, CRASH = AttemptOutcome.ERROR, AttemptOutcome.CRASH
SUCCESS, TIMEOUT = AttemptOutcome.SUCCESS, AttemptOutcome.TIMEOUT
OUT_OF_MEMORY = AttemptOutcome.OUT_OF_MEMORY
# Long enough for a worker of a busy machine to come where it hangs.
SHORT = 0.5
ORDERED = "killed by SIGKILL (ordered: timeout)"


@dataclass(frozen=True, kw_only=True)
class Row:
    key: str
    where: str
    how: str
    job: Callable[[Scene], Any] | None = None
    outcome: AttemptOutcome = SUCCESS
    told: str = ""
    lives: bool | None = True
    limit: float = 30.0
    data: Callable[[Scene], Any] | None = None
    value: Callable[[Any], bool] | None = None
    raises: type[BaseException] | None = None
    harms_sibling: bool = False
    leaves_dirt: bool = False
    scenario: Callable[[Scene], None] | None = None
    not_run: str = ""
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.key} {self.how}"


def crash(key: str, how: str, job: Any, told: str, *, where: str = "running", **more: Any) -> Row:
    return Row(
        key=key, where=where, how=how, job=job, outcome=CRASH, told=told, lives=False, **more
    )


def timeout(
    key: str, how: str, job: Any, *, where: str = "running", told: str = ORDERED, **more: Any
) -> Row:
    return Row(
        key=key,
        where=where,
        how=how,
        job=job,
        outcome=TIMEOUT,
        told=told,
        lives=False,
        limit=SHORT,
        **more,
    )


def error(key: str, how: str, job: Any, told: str, *, where: str = "running", **more: Any) -> Row:
    return Row(key=key, where=where, how=how, job=job, outcome=ERROR, told=told, **more)


def success(key: str, how: str, job: Any, value: Any, **more: Any) -> Row:
    is_value = value if callable(value) else lambda got: got == value
    return Row(key=key, where="running", how=how, job=job, value=is_value, **more)


def raising(key: str, kind: type[BaseException], *args: Any, told: str = "") -> Row:
    return error(key, f"raises {kind.__name__}", partial(v.raised, kind, args), told)


def number_of(name: str) -> int:
    return int(signal.Signals[name])


def same_numbers(got: Any) -> bool:
    *known, tenth, seven, nan = got
    return (*known, tenth, seven) == (*v.NUMBERS, 0.1, -7) and math.isnan(nan)


CLOSED = "a job closed the descriptors of its worker"
VIOLATION = "protocol violation: "

CATALOGUE = [
    # --- signals and exits ---
    crash("W1", "SIGKILL", partial(h.killed_by, signal.SIGKILL), "killed by SIGKILL, not by knock"),
    crash("W2", "null pointer", h.read_null, "killed by SIGSEGV"),
    *(
        crash("W3", name, partial(h.killed_by, number_of(name)), f"killed by {name}")
        for name in ("SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTERM")
    ),
    crash("W3", "real-time signal", partial(h.killed_by, 40), "killed by signal 40"),
    crash("W4", "exit code 0", partial(h.leave, 0), "exited with code 0 without a result"),
    crash("W4", "exit code 9", partial(h.leave, 9), "exited with code 9 without a result"),
    crash(
        "W4",
        "exit code 5",
        partial(v.returned, None),
        "exited with code 5 without a result",
        where="unpickling",
        data=lambda _: v.Calls(h.leave, 5, None),
    ),
    raising("W5", SystemExit, 3, told="SystemExit: 3"),
    raising("W5", KeyboardInterrupt, told="KeyboardInterrupt"),
    raising("W5", GeneratorExit, told="GeneratorExit"),
    raising("W5", v.OwnBaseError, told="OwnBaseError"),
    # --- hangs ---
    timeout("W6", "SIGSTOP", h.stopped, told=f"{ORDERED[:-1]}; no stack: it was stopped)"),
    timeout("W7", "Python loop", h.loop),
    timeout("W7", "Python loop", h.loop, where="unpickling", data=lambda _: v.Calls(h.loop, None)),
    timeout("W8", "C loop with the GIL", h.c_loop),
    timeout("W8", "sleep in C with the GIL", h.c_sleep),
    timeout(
        "W9",
        "all signals ignored and blocked",
        h.deaf,
        told=f"{ORDERED[:-1]}; no stack: it blocked the signal)",
    ),
    Row(
        key="W10",
        where="running",
        how="uninterruptible sleep",
        not_run="needs a device that hangs; told of a pid that outlives SIGKILL in the log",
    ),
    # --- memory ---
    Row(
        key="W11",
        where="running",
        how="address space at its limit",
        job=h.out_of_memory,
        outcome=OUT_OF_MEMORY,
        told="MemoryError",
    ),
    Row(
        key="W12",
        where="running",
        how="killed by the kernel for want of memory",
        not_run="needs a memory cgroup; W1 is the same death",
    ),
    # --- half a word, a lie ---
    *(
        crash(
            "W13",
            f"SIGKILL after {size} bytes",
            partial(h.result_cut_at, size),
            "killed by SIGKILL, not by knock",
            where="sending the result",
        )
        for size in (1, 15, 16, 40, 70)
    ),
    success(
        "W14",
        "SIGKILL after the last byte of a result",
        partial(h.result_cut_at, 1 << 20),
        "forged",
        lives=False,
    ),
    timeout("W15", "header and 3 bytes, then nothing", partial(h.header_and_sleep, 1000)),
    crash("W16", "garbage in every descriptor", h.garbage, f"{VIOLATION}not a frame"),
    timeout("W17", "length 2**31 - 1", partial(h.header_and_sleep, 2**31 - 1)),
    crash("W17", "length 2**62", partial(h.header_and_sleep, 2**62), VIOLATION),
    crash("W17", "length -2", partial(h.header_and_sleep, 2**64 - 2), VIOLATION),
    crash("W17", "length 0", partial(h.header_and_sleep, 0), f"{VIOLATION}malformed result"),
    *(
        crash(
            "W18",
            f"answers for ticket {distance:+d}",
            partial(h.result_for_another, distance),
            f"{VIOLATION}an answer for ticket",
        )
        for distance in (1, 1 << 40)
    ),
    success("W19", "two results", h.second_result, "first", lives=None),
    success("W19", "a result, and no end", h.result_and_loop, "first", lives=False, limit=SHORT),
    crash("W20", "closes its channel", h.closed_channel, "it had closed its channel"),
    success(
        "W20", "closes descriptors below 200", partial(h.closed_range, 200), None, leaves_dirt=True
    ),
    crash("W20", "closes all descriptors", partial(h.closed_range, 3000), CLOSED),
    crash("W21", "channel handed on to a child", h.heir, "killed by SIGKILL, not by knock"),
    # --- children ---
    *(
        timeout("W22", f"{name} child", partial(h.breed, steps, h.loop), needs=needs)
        for name, steps, needs in (
            ("plain", "f", ""),
            ("setsid", "fs", "subreaper"),
            ("double-forked", "ff", ""),
            ("daemon", "fsf", "subreaper"),
        )
    ),
    crash(
        "W22",
        "daemon child, then exit 0",
        partial(h.breed, "fsf", partial(h.leave, 0)),
        "code 0",
        needs="subreaper",
    ),
    timeout("W23", "64 forks", partial(h.fork_bomb, 6)),
    # --- results and exceptions ---
    *(
        error(
            "W24", f"returns a {kind}", partial(v.unpicklable, kind), f"SerializationError: {told}"
        )
        for kind, told in (
            ("lock", "cannot pickle"),
            ("generator", "cannot pickle"),
            ("file open for writing", "cannot pickle"),
        )
    ),
    error(
        "W25",
        "__reduce__ raises",
        partial(v.made, v.Pickled, "raises"),
        "not me",
        where="pickling the result",
    ),
    timeout(
        "W25",
        "__reduce__ loops",
        partial(v.made, v.Pickled, "loops"),
        where="pickling the result",
    ),
    crash(
        "W25",
        "__reduce__ exits",
        partial(v.made, v.Pickled, "exits"),
        "exited with code 4",
        where="pickling the result",
    ),
    success(
        "W26",
        "result that runs code when unpickled",
        v.runs_when_unpickled,
        None,
    ),
    Row(
        key="W26",
        where="reading the result",
        how="result that cannot be unpickled",
        job=partial(v.made, v.FailsWhenUnpickled),
        raises=ResultDecodeError,
    ),
    raising("W27", v.TwoArgumentsError, 1, 2, told="TwoArgumentsError: 1"),
    raising("W27", v.LockedError, told="LockedError: locked"),
    raising("W28", v.TextError, "raises", told="raised ValueError"),
    raising("W28", v.TextError, "no text", told="raised TypeError"),
    raising("W28", v.TextError, "long", told="xxxxxxxx"),
    timeout("W28", "text that never ends", partial(v.raised, v.TextError, ("loops",))),
    error("W29", "10,000 frames", partial(v.raised_deep, 10_000), "at the bottom"),
    error("W29", "cycle of causes", v.raised_in_a_cycle, "ValueError: first"),
    error("W29", "group of 10,000", v.raised_as_group, "many"),
    error("W30", "RecursionError", v.recursed, "RecursionError"),
    error(
        "W30",
        "result nested 100,000 deep",
        partial(v.made, v.nested, 100_000),
        "SerializationError",
        where="pickling the result",
    ),
    crash("W30", "stack overflow", v.overflow_the_stack, "SIGSEGV", where="pickling the result"),
    success("W31", "64 MiB result", partial(v.large, 64 << 20), lambda got: len(got) == 64 << 20),
    # --- what surrounds it ---
    success("W32", "flood of both standard streams", partial(h.flooded, 64 << 20), "flooded"),
    error("W33", "reads its standard input", h.read_input, "EOFError"),
    success("W34", "leaves state behind", h.dirtied, "dirty", leaves_dirt=True),
    success("W35", "leaves threads running", h.left_running, "left", leaves_dirt=True),
    success("W36", "patches the standard library", h.patched, "patched", leaves_dirt=True),
    error("W37", "no descriptor left", h.out_of_descriptors, "Too many open files"),
    error("W38", "disk full", h.disk_full, "No space left on device"),
    Row(key="W39", where="booting", how="initializer raises", scenario=scenario.boot_fails),
    Row(key="W39", where="booting", how="initializer exits", scenario=scenario.boot_exits),
    Row(key="W40", where="looked up", how="no processor", scenario=scenario.no_processor),
    error(
        "W41",
        "class that has moved",
        partial(v.returned, None),
        "SerializationError: cannot unpickle the data",
        where="unpickling",
        data=lambda _: v.load_moved_class(),
    ),
    Row(
        key="W42",
        where="unpickling",
        how="stored payload altered",
        not_run="payloads are kept in the memory of trusted processes: nothing signs them yet",
    ),
    success("W43", "kills the other worker", h.sibling_killed, "killed", harms_sibling=True),
    success(
        "W44",
        "takes the terminal, leaves its group",
        h.took_the_terminal,
        "tried",
        leaves_dirt=True,
    ),
    success("W45", "numbers that are hard to keep", v.numbers, same_numbers),
    Row(key="W46", where="idle", how="SIGKILL", scenario=scenario.killed_when_idle),
    Row(key="W47", where="handed out, not begun", how="SIGKILL", scenario=scenario.killed_unbegun),
    Row(key="W48", where="booting", how="slow", scenario=scenario.boots_slowly),
]
