"""`python -m headrace.infra.cli` is the `headrace` command."""

from headrace.infra.cli import main

main()
