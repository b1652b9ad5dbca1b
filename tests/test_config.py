"""Settings are checked where they are given, and the message says which and what."""

import contextlib
import math
import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest
from hypothesis import given, strategies as st

from knock import config
from knock.core.job import Priority
from knock.errors import ConfigError

NO_NUMBERS = [None, True, False, "1", "", b"1", [], object(), 1j, Decimal(1), numpy.bool_(True)]
OUT_OF_RANGE = [-1, -0.001, -math.inf, math.inf, math.nan, 10**18, 1e18, 10**400, -(10**400)]
# More digits than Python turns into text.
HUGE = pytest.param(10**5000, id="huge")
MINUS_HUGE = pytest.param(-(10**5000), id="-huge")


# --- durations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_no_duration(value):
    with pytest.raises(ConfigError, match=r"^timeout must be a number of seconds, not "):
        config.seconds("timeout", value)


@pytest.mark.parametrize("value", [*OUT_OF_RANGE, numpy.float64("nan"), numpy.float32(-1), HUGE])
def test_duration_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match=r"^delay must be between 0 and 1e\+09 seconds, not "):
        config.seconds("delay", value)


@pytest.mark.parametrize(
    "value",
    [0, 2, 2.5, Fraction(5, 2), numpy.float64(2.5), numpy.float32(2.5), numpy.int64(2), 10**9],
)
def test_number_of_any_kind_is_a_duration(value):
    result = config.seconds("timeout", value)
    assert result == float(value)
    assert type(result) is float


@given(st.floats(0, config.MAX_SECONDS))
def test_duration_in_range_stays_as_it_is(value):
    assert config.seconds("timeout", value) == value


def test_none_is_no_limit_only_where_that_is_allowed():
    assert config.seconds("timeout", None, allow_none=True) is None
    with pytest.raises(ConfigError, match="a number of seconds or None, not '5s'"):
        config.seconds("timeout", "5s", allow_none=True)


def test_duration_under_its_minimum_is_refused():
    assert config.seconds("timeout", 0.001, minimum=0.001) == 0.001
    with pytest.raises(ConfigError, match=r"between 0\.001 and"):
        config.seconds("timeout", 0, minimum=0.001)


def test_delay_over_its_cap_was_meant_in_milliseconds():
    config.check_retry_delays(1.0, 1.0)
    with pytest.raises(ConfigError, match=r"retry_delay=1000 .*\(knock-mq took ms\)"):
        config.check_retry_delays(1000.0, 300.0)


# --- counts and fractions -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.0, 1.5, math.nan, math.inf, numpy.float64(1)])
def test_what_is_no_whole_number_is_no_count(value):
    with pytest.raises(ConfigError, match=r"^concurrency must be a whole number, not "):
        config.count("concurrency", value)


@pytest.mark.parametrize("value", [-1, 10**18, HUGE, MINUS_HUGE, numpy.int64(-1)])
def test_count_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match=r"^workers must be between 0 and 1000000000, not "):
        config.count("workers", value)


@given(st.integers(3, 9))
def test_count_in_range_stays_as_it_is(value):
    assert config.count("n", value, minimum=3, maximum=9) == value


def test_counts_of_numpy_become_plain():
    assert type(config.count("n", numpy.int32(7))) is int


@pytest.mark.parametrize("value", [*NO_NUMBERS, *OUT_OF_RANGE, 1.0001, HUGE])
def test_what_is_no_part_of_one_is_no_fraction(value):
    with pytest.raises(ConfigError, match=r"^rate must be "):
        config.fraction("rate", value)


@given(st.floats(0, 1))
def test_fraction_stays_as_it_is(value):
    assert config.fraction("rate", value) == value


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,expected",
    [
        ("0", 0),
        ("12", 12),
        ("12 B", 12),
        ("1k", 1000),
        ("1KB", 1000),
        ("512MiB", 512 << 20),
        ("512 mib", 512 << 20),
        ("1.5Gi", 3 << 29),
        ("2TB", 2 * 10**12),
        (" 0.1 KiB ", 102),
        ("4611686018427387904", 1 << 62),
    ],
)
def test_size_is_text_with_a_unit(text, expected):
    assert config.size("memory", text) == expected


@given(st.integers(0, 1 << 62))
def test_size_is_a_number_of_bytes(value):
    assert config.size("memory", value) == config.size("memory", str(value)) == value


@pytest.mark.parametrize(
    "value",
    ["", "MiB", "-1", "1e3", "1.MiB", ".5k", "5i", "5 XiB", "1 2", "9" * 400, "\u0661k", 1.5],
)
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ConfigError, match=r"^memory must be "):
        config.size("memory", value)


@pytest.mark.parametrize("value", [-1, True, (1 << 62) + 1, "4611686018427387905", "5000000TiB"])
def test_size_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match=r"^memory must be "):
        config.size("memory", value)


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert 0 <= config.size("memory", text) <= config.MAX_SIZE


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value,expected",
    [("high", Priority.HIGH), ("Normal", Priority.NORMAL), (Priority.LOW, Priority.LOW)],
)
def test_priority_has_a_name(value, expected):
    assert config.priority(value) is expected


@pytest.mark.parametrize("value", [0, 1, "urgent", "", None, True])
def test_what_is_no_priority_is_refused(value):
    with pytest.raises(ConfigError, match="priority must be 'high', 'normal' or 'low', not "):
        config.priority(value)


def test_start_method_has_a_name_or_is_the_first():
    assert config.start_method(None) == "forkserver"
    assert [config.start_method(name) for name in config.START_METHODS] == [*config.START_METHODS]


@pytest.mark.parametrize("value", ["thread", "", 1, True])
def test_what_is_no_start_method_is_refused(value):
    with pytest.raises(ConfigError, match="start_method must be one of forkserver, spawn, fork"):
        config.start_method(value)


@pytest.mark.parametrize("value", ["a", "send e-mail", "größe", "x" * 255])
def test_job_type_is_text(value):
    assert config.job_type(value) == value


@pytest.mark.parametrize("value", ["", "x" * 256, "a\nb", "\x1b[31m", "\ud800", 7, None, b"a"])
def test_what_is_no_job_type_is_refused(value):
    with pytest.raises(ConfigError, match="a job type must "):
        config.job_type(value)


def test_message_does_not_repeat_all_of_a_long_value():
    with pytest.raises(ConfigError) as caught:
        config.job_type("x" * 1_000_000)
    assert len(str(caught.value)) < 200


# --- this machine ---------------------------------------------------------------------------------


def files(texts: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        try:
            return texts[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    return read


def v2(**quotas: str) -> dict[str, str]:
    texts = {"/proc/self/cgroup": "0::/a/b\n"}
    return texts | {f"/sys/fs/cgroup{path}/cpu.max": text for path, text in quotas.items()}


ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"/proc/self/cgroup": "0::/\n"},
        {"/proc/self/cgroup": "nonsense\n\n0::\n"},
        v2(**{"/a/b": "max 100000\n"}),
        v2(**{"/a/b": "nonsense\n", "/a": "50000 0\n"}),
        v2(**{"/a/b": "99999900000 100000\n"}),
    ],
)
def test_without_a_quota_the_cores_are_those_of_the_affinity_mask(texts):
    cores, _ = config.usable_cores(files(texts))
    assert cores == ALLOWED


@pytest.mark.parametrize(
    "texts",
    [
        v2(**{"/a/b": "50000 100000\n"}),
        v2(**{"/a/b": "max 100000\n", "/a": "100000 100000\n"}),
        v2(**{"": "10000 100000\n"}),
        {
            "/proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/c\n",
            "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "70000\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_quota_of_a_cgroup_or_one_above_it_counts_rounded_up(texts):
    cores, reason = config.usable_cores(files(texts))
    assert cores == 1
    # A machine of one core has no need of the quota.
    assert "quota" in reason or os.cpu_count() == 1


def test_numeric_libraries_share_the_cores_among_the_workers():
    cores, _ = config.usable_cores()
    assert config.thread_cap(1) == cores
    assert config.thread_cap(10_000) == 1
