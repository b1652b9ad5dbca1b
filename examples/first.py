import os
import pathlib

import knock


def count_lines(path):
    if path.name == "this.py":
        os.abort()  # ends this process
    if path.name == "antigravity.py":
        sum(range(10**12))  # hours in C code that lets nothing else run
    return path.read_bytes().count(b"\n")


modules = sorted(pathlib.Path(os.__file__).parent.glob("*.py"))
report = knock.run_pool(count_lines, modules, timeout=1)
print(f"{sum(report.values(default=0)):,} lines in {len(modules)} modules")
for outcome in report.failures:
    print(outcome.item.name, "-", outcome.exception())
