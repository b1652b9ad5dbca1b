"""What a job can do to its worker; played row by row in ``tests/process/catalogue.py``."""

from tests.faults.row import Fault, held, open_still

PLAYED = "process/test_catalogue.py::test_a_hostile_job_costs_itself_and_no_other"
DIES = "process/test_catalogue.py::test_a_death_costs_one_job_whatever_the_start_method"


def played(key: str, what: str, done: str, *tests: str) -> Fault:
    return held(key, what, done, PLAYED, *tests)


FAULTS = [
    played("W1", "SIGKILL", "a crash with its signal, charged to the job that ran", DIES),
    played("W2", "SIGSEGV", "the same, with the stack", DIES),
    played("W3", "SIGABRT, SIGBUS, SIGILL, SIGFPE", "the same", DIES),
    played("W4", "`os._exit(0)`", "a crash: exited with code 0 without a result", DIES),
    played("W5", "`SystemExit`, `KeyboardInterrupt`", "an error; the worker lives"),
    played("W6", "stops itself", "killed at its limit"),
    played("W7", "loops in Python", "killed at its limit, with its stack"),
    played("W8", "loops in C with the GIL", "the same"),
    played("W9", "ignores and blocks signals", "killed at its limit; the record says why no stack"),
    open_still("W10", "cannot be killed (D state)", "needs a device that hangs"),
    played("W11", "meets its memory limit", "`out_of_memory`; the worker lives"),
    held(
        "W12",
        "killed by the kernel for want of memory",
        "`out_of_memory` where the control group tells it",
        "process/test_weight.py::test_a_kill_that_the_kernel_counts_is_one_for_want_of_memory",
        but="played with a made-up control group",
    ),
    played("W13", "dies while it writes its result", "a crash; half a result is none"),
    played("W14", "dies when its result is written", "the result counts"),
    played("W15", "half a frame, then nothing", "others are served; killed at its limit"),
    played(
        "W16",
        "garbage on the pipe",
        "killed: a protocol violation, charged to the sender",
        "process/test_hearing.py::test_no_nonsense_of_a_worker_is_believed_or_ends_its_supervisor",
    ),
    played(
        "W17",
        "a length that lies",
        "refused without allocating",
        "protocol/test_frame.py::test_nothing_is_allocated_by_a_senders_word",
    ),
    played("W18", "answers for another job", "refused, charged to the sender"),
    played("W19", "two results", "the first counts, and no other"),
    played("W20", "closes its channel", "taken for dead and killed"),
    played("W21", "hands its channel to a child", "its own death is seen; late bytes do not count"),
    played(
        "W22",
        "leaves children behind",
        "killed with the job, whatever session they are in; counted",
        "process/test_leftover.py::test_a_tree_of_sessions_is_taken_whole",
        DIES,
    ),
    played("W23", "fork bomb", "all of it is killed at the limit"),
    played("W24", "a result that cannot be pickled", "an error that names it"),
    played("W25", "a result whose pickling raises, loops, exits", "as if the job had"),
    played("W26", "a result that runs code when unpickled", "none of it runs in the supervisor"),
    played("W27", "an exception that cannot be pickled", "type, message and traceback arrive"),
    played("W28", "an exception with hostile text", "a placeholder, or cut at 16 KiB"),
    played("W29", "endless tracebacks, causes, groups", "head and tail, up to 64 KiB"),
    played("W30", "recursion without end", "an error, or a crash; never a hang"),
    played(
        "W31",
        "a huge result",
        "sent whole, or refused in the worker by `max_result_bytes`",
        "run/test_limits.py::test_a_result_that_is_too_large_is_refused_in_the_worker",
    ),
    played(
        "W32",
        "floods its output",
        "never blocked; what is captured is bounded",
        "run/test_capture.py::test_a_flood_is_bounded_and_its_end_is_kept",
    ),
    played("W33", "reads its standard input", "`EOFError`; the terminal is not touched"),
    played(
        "W34",
        "leaves process state behind",
        "put back after the job, or its worker is replaced",
        "process/test_isolation.py::test_the_next_job_finds_it_as_it_was",
    ),
    played(
        "W35",
        "leaves threads running",
        "counted; with `isolation='restore'` its worker is replaced",
        "process/test_leftover.py::test_threads_left_are_counted_and_stay",
    ),
    played("W36", "patches the standard library", "knock's own code keeps what it took at import"),
    played("W37", "runs out of descriptors", "an error, told by a pipe that was open before"),
    played("W38", "fills the disk", "its own `OSError`"),
    played(
        "W39",
        "fails at boot",
        "told with its last words; no job is touched",
        "supervisor/test_death.py::test_workers_that_end_while_booting_fail_the_pool_with_their_last_words",
    ),
    played("W40", "no processor", "dead: `unknown_type`; others go on"),
    played("W41", "data of a class that has moved", "an error, not tried again blindly"),
    open_still(
        "W42", "stored data was altered", "needs a durable storage, which signs what it keeps"
    ),
    played("W43", "kills another worker", "that one's job is charged: same user, same rights"),
    played("W44", "takes the terminal, leaves its group", "it has a session of its own"),
    played("W45", "returns NaN, inf, numpy's numbers", "they come back as they were"),
    played("W46", "dies between two jobs", "replaced; nobody is charged"),
    played("W47", "dies before it begins", "its jobs go to others, uncharged"),
    played("W48", "boots slowly", "no job is claimed before it is ready"),
]
