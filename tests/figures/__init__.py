"""The figures that knock is measured by: ``python -m tests.figures NAME [--quick]``."""
