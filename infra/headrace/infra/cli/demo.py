"""`headrace demo`: watch a real model learn."""

from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import INTERRUPTED, NO, app
from headrace.infra.settings import load


@app.command()
def demo(
    versions: Annotated[int, typer.Option(min=1, help="Policy versions to train.")] = 10,
    heldout: Annotated[int, typer.Option(min=8, help="Held-out questions of the test.")] = 64,
) -> None:
    """Close the whole loop on genuine parts and test whether the model got better.

    A calculator agent on the plain OpenAI SDK, SmolLM2-135M, Kafka, ClickHouse and the trainer,
    all on this machine. Exit code 0 only if the last version beats the first with p < 0.01.
    The parts go on running afterwards, so that you can ask questions; `headrace down` stops them.
    """
    from headrace.infra.demo import DemoConfig, run_demo  # here: the other verbs start faster

    try:
        learnt = run_demo(load(), DemoConfig(versions=versions, heldout=heldout), Console())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not learnt:
        raise typer.Exit(NO)
