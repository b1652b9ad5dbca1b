"""The decisions of knock: events in, commands out.

Rule 1: whatever decides what happens to a job or a worker is in this package.
Rule 2: nothing here reads a clock, a pipe, a process, a database or the global random
        generator. Time arrives as ``now``; chance arrives as ``rng``.
Rule 3: ``Machine.handle`` is the only way to change the machine.
"""
