"""The language between the supervisor and its workers, as bytes in and bytes out.

Nothing here reads or writes a descriptor, and nothing here unpickles.
"""
