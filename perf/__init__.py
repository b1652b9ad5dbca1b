"""Benchmarks, side by side with the standard library's pools: ``python -m perf``."""
