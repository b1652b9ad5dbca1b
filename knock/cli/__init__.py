"""The command ``knock``. Workers of the demo import this package: it loads nothing by itself."""
