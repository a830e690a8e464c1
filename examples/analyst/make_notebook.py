"""Makes analyst.ipynb of analyst.py, whose cells begin with `# %%`."""

import hashlib
import json
from pathlib import Path

SOURCE = Path(__file__).with_name("analyst.py")
NOTEBOOK = SOURCE.with_suffix(".ipynb")


def notebook_of(source: str) -> str:
    """The notebook, format 4.5, without outputs. Equal sources give equal bytes."""
    cells = [_cell(part) for part in source.split("# %%")[1:]]
    whole = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(part: str) -> dict[str, object]:
    head, _, body = part.partition("\n")
    name = hashlib.sha256(part.encode()).hexdigest()[:12]
    if head.strip() == "[markdown]":
        text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
        return {"cell_type": "markdown", "id": name, "metadata": {}, "source": _lines(text)}
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": [],
        "source": _lines(body),
    }


def _lines(text: str) -> list[str]:
    return text.strip().splitlines(keepends=True)


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook_of(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
