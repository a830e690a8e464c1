"""`headrace demo`: watch a real model learn."""

from typing import Annotated

import typer
from rich.console import Console

from headrace.infra.cli.app import INTERRUPTED, NO, WRONG_USE, app, fail
from headrace.infra.settings import load


@app.command()
def demo(
    name: Annotated[
        str,
        typer.Argument(
            help=(
                "What learns: calculator, text_to_sql, retrieval, calculator_autogen, recovery or "
                "drift."
            )
        ),
    ] = "calculator",
    versions: Annotated[
        int | None, typer.Option(min=1, help="Policy versions to train; default: what it takes.")
    ] = None,
    heldout: Annotated[int, typer.Option(min=8, help="Held-out tasks of the test.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the tasks to train: another order of them.")] = 0,
    settings: Annotated[
        str, typer.Option(help="Settings file of the example's folder.")
    ] = "settings.toml",
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos", help="Kill part after part while it learns, and end with an audit."
        ),
    ] = False,
) -> None:
    """Run the whole loop and test whether the model got better.

    An agent (by default a calculator agent on the plain OpenAI SDK), SmolLM2-135M, Kafka,
    ClickHouse and the trainer, all on this machine. Exit code 0 only if the last version beats
    the first with p < 0.01 (and, with --chaos, if nothing was lost or doubled). In drift what
    users ask changes on the way: the version served then and the last are compared, and a version
    made bad on purpose must be rolled back. The parts go on running afterwards, so that you can
    ask questions; `headrace down` stops them.
    """
    from headrace.infra.demo import CASES, DemoConfig, run_demo  # here: other verbs start faster

    if name not in CASES:
        known = "; ".join(f"{case.name} ({case.about})" for case in CASES.values())
        fail(f"there is no demo {name}: there are {known}", WRONG_USE)
    case = CASES[name]
    config = DemoConfig(
        case=case,
        versions=versions or case.versions,
        heldout=heldout,
        seed=seed,
        settings=settings,
        chaos=chaos,
    )
    try:
        learnt = run_demo(load(), config, Console())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not learnt:
        raise typer.Exit(NO)
