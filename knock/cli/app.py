"""The commands of ``knock``."""

import click

import knock
from knock.cli.demo import demo


@click.group(invoke_without_command=True)
@click.version_option(knock.__version__, prog_name="knock")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run CPU-heavy Python jobs in a supervised pool of processes, and lose none."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(demo)
