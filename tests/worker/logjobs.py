"""Jobs that log where it is inconvenient."""

import logging
import signal
import threading
import time

from tests.witness import Witness


def be_large_and_log_on_signals(item: tuple[Witness, int, bool]) -> bytes:
    witness, size, has_thread = item

    def log(*_: object) -> None:
        logging.getLogger("shop").error("in a signal handler")
        witness.note("signal")

    signal.signal(signal.SIGUSR1, log)
    # Not before: its first record is the sign that signals may come.
    if has_thread:
        log_from_a_thread_on()
    return bytes(size)


def square(x: int) -> int:
    return x * x


def log_from_a_thread_on() -> None:
    def log_on() -> None:
        while True:
            logging.getLogger("shop").error("on and on")
            time.sleep(0.001)

    threading.Thread(target=log_on, name="talker", daemon=True).start()
