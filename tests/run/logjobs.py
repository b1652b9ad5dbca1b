"""Functions that log."""

import faulthandler
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import knock
from tests.witness import Gate, Witness

logger = logging.getLogger("shop.orders")


class Hostile:
    """Can be shown to nobody."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def log_one(item: Any) -> Any:
    logger.warning("item %s of %r", item, {"a": 1})
    return item


def log_at(level: int) -> None:
    logger.log(level, "at %d", level)


def log_exception(item: Any) -> None:
    try:
        {}[item]
    except KeyError:
        logger.exception("not found")


def log_hostile(item: Any) -> str:
    logger.error("before %s", Hostile())
    logger.error(Hostile())
    logger.error("too few %s %s", item)  # noqa: PLE1206 - what this is about
    logger.error({"no": "text"})
    return "survived"


def log_in_thread(item: Any) -> None:
    thread = threading.Thread(target=logger.warning, args=("of a thread",), name="helper")
    thread.start()
    thread.join()


def log_many(lines: int) -> None:
    for number in range(lines):
        logger.warning("line %d", number)


def log_for_ever(item: Any) -> NoReturn:
    while True:
        logger.warning("and on it goes " * 500)


def log_behind_gate(arguments: tuple[Witness, Gate, int]) -> None:
    witness, gate, lines = arguments
    if lines:
        gate.pass_through()
        log_many(lines)
    witness.note("logged")


def log_by_its_name(number: int) -> None:
    logging.getLogger(f"shop.orders.number.{number}").warning("by name")


def log_and_end(how: str) -> None:
    for number in range(100):
        logger.warning("line %d", number)
    job = knock.current_job()
    assert job is not None
    job.log("the last\nwords")
    match how:
        case "raise":
            raise ValueError(how)
        case "leave":
            sys.exit(how)
        case "exit":
            os._exit(3)
        case "segfault":
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(1000)


def log_in_children(item: Any) -> list[int]:
    """Let processes log that are not the worker, whatever knock does not know of them."""
    pid = os.fork()
    if not pid:
        try:
            logger.error("of a forked child")
        finally:
            os._exit(5)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
    process = multiprocessing.get_context("fork").Process(target=log_many, args=(100,))
    process.start()
    process.join()
    codes.append(process.exitcode or 0)
    logger.warning("of the parent")
    return codes


def log_while_logging(item: Any) -> None:
    """Log from a signal handler and from a finalizer, in the middle of logging."""

    class Talkative:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            logger.warning("in a finalizer")

    signal.signal(signal.SIGALRM, lambda *_: logger.warning("in a signal handler"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for number in range(3000):
        Talkative()
        if number % 100 == 0:
            gc.collect()
        logger.warning("line %d", number)
    signal.setitimer(signal.ITIMER_REAL, 0)


def leave_logging_thread(witness: Witness) -> None:
    def log_on() -> None:
        while True:
            logger.warning("left over")
            if not witness.count("logged on"):
                witness.note("logged on")
            time.sleep(0.001)

    threading.Thread(target=log_on, daemon=True).start()


def set_up(text: str) -> None:
    logger.warning("initializer: %s", text)


def set_up_and_fail() -> NoReturn:
    logger.error("about to fail")
    raise RuntimeError("cannot set up")


def add_handler(path: str) -> None:
    logging.getLogger().addHandler(logging.FileHandler(path))


def take_root(path: str) -> None:
    logging.basicConfig(filename=path, force=True, level=logging.WARNING)


def log_one_or_fail(item: int) -> int:
    logger.warning("%d", item)
    if item < 0:
        raise ValueError(item)
    return item
