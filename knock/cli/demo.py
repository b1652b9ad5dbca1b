"""``knock demo``: real work on every machine, with faults planted among it, and checked."""

import json
import logging
import sys
import tempfile
from pathlib import Path

import click

from knock import config
from knock.cli.demo_plan import make_plan
from knock.cli.demo_result import DemoResult, run_serial
from knock.cli.demo_run import run_jobs
from knock.cli.demo_text import result_text
from knock.cli.exit_code import INTERRUPTED
from knock.errors import KnockError


@click.command()
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Worker processes; by default one for each core that this process may use.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seeds the order of the jobs.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="No more modules than this, drawn by the seed."
)
def demo(*, workers: int | None, as_json: bool, seed: int, limit: int | None) -> None:
    """Hash, parse, count and compress the standard library's modules in a pool of processes.

    On purpose, one job raises twice, one hangs, one dies of a segmentation fault, one calls
    os._exit(0), and one type of jobs fails until its circuit breaker opens. At the end the totals
    are compared with those of a serial program. Exits with 0 if all went as planned, else with 1.
    """
    try:
        result = run_demo(config.workers("--workers", workers).number, seed, limit)
    except KnockError as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        # That jobs were left is no news to whoever pressed Ctrl-C.
        logging.getLogger("knock").setLevel(logging.ERROR)
        click.echo("knock: interrupted", err=True)
        sys.exit(INTERRUPTED)
    click.echo(json.dumps(result.to_dict(), indent=2) if as_json else result_text(result))
    sys.exit(0 if result.ok else 1)


def run_demo(workers: int, seed: int, limit: int | None = None) -> DemoResult:
    """Do all of it, with progress on standard error."""
    plan = make_plan(seed, limit)
    modules = f"{len(plan.paths):,} modules in {plan.root}"
    click.echo(f"knock: working through {modules} on {workers} workers", err=True)
    with tempfile.TemporaryDirectory(prefix="knock-demo-") as folder:
        run = run_jobs(plan, workers, Path(folder, "outage"))
    click.echo("knock: doing it once more, in series, to compare", err=True)
    return DemoResult(plan, run, run_serial(plan.paths))
