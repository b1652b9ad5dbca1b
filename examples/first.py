import os
from pathlib import Path

import knock


def count_lines(path):
    if path.name == "this.py":
        os.abort()  # ends this process
    if path.name == "antigravity.py":
        sum(range(10**12))  # hours in C code that lets nothing else run
    return path.read_bytes().count(b"\n")


print(knock.run_pool(count_lines, sorted(Path(os.__file__).parent.glob("*.py")), timeout=1))
