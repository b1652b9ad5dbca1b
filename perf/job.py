"""The jobs that are timed."""

from time import perf_counter


def nothing(number: int) -> int:
    return number


def burn_millisecond(number: int) -> int:
    until = perf_counter() + 0.001
    while perf_counter() < until:
        pass
    return number
