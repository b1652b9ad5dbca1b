"""Functions that write to standard output and error."""

import os
import signal
import subprocess
import sys
import time


def print_both(number: int) -> None:
    print("out", number)
    print("err", number, file=sys.stderr)
    if number < 0:
        os._exit(0)


def write_both(number: int) -> None:
    os.write(1, b"out %d\n" % number)
    os.write(2, b"err %d\n" % number)


def print_unended(number: int) -> None:
    print(number, end="")


def print_in_a_child(text: str) -> None:
    os.write(1, b"raw\n")
    subprocess.run([sys.executable, "-c", f"print('child', {text!r})"], check=True)


def print_and_end(how: str) -> None:
    print("before", how)
    print("cannot", how, file=sys.stderr)
    match how:
        case "raise":
            raise ValueError(how)
        case "exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(1000)


def flood(size: int) -> None:
    chunk = b"\xff" * (1 << 20)
    for _ in range(size // len(chunk)):
        os.write(1, chunk)
    os.write(1, b"end\n")


def leave_a_flooding_child(item: tuple[bool, str]) -> None:
    start_new_session, how = item
    code = "import os\nwhile True: os.write(1, b'x' * 65536)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=start_new_session)
    if how == "exit":
        os._exit(3)


def redirect(path: str) -> None:
    if path:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(fd, 1)
        os.close(fd)
    print("here")


def set_up() -> None:
    print("setting up")


class ExitingStream:
    """A stream that wants its process to end."""

    def write(self, text: str) -> int:
        raise SystemExit(4)

    def flush(self) -> None:
        raise SystemExit(3)


def replace_streams(number: int) -> int:
    print("here")
    sys.stdout = sys.stderr = ExitingStream()
    return number
