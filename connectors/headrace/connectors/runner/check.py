"""Whether an agent can be run, found out before the first task comes."""

import inspect
from multiprocessing import get_context
from multiprocessing.connection import Connection

from headrace.connectors.described import as_name, type_name
from headrace.connectors.runner.agent import import_from_here, load_agent
from headrace.connectors.runner.errors import AgentUnusable

_spawn = get_context("spawn")


def check_agent(name: str) -> None:
    """Import an agent in a process of its own, and look whether it takes what it will be given.

    Raises:
        AgentUnusable: its module or function is not there, cannot be imported, or takes other
            arguments.
    """
    ours, theirs = _spawn.Pipe(duplex=False)
    process = _spawn.Process(target=_look, args=(theirs, name))
    process.start()
    theirs.close()
    try:
        trouble: str = ours.recv()
    except EOFError:
        process.join()
        trouble = (
            f"agent {name!r} ends the process that imports it (exit code {process.exitcode}): "
            "keep what runs out of its module's top level"
        )
    finally:
        process.join()
        ours.close()
    if trouble:
        raise AgentUnusable(trouble)


def _look(connection: Connection, name: str) -> None:
    import_from_here()
    connection.send(_trouble(name))


def _trouble(name: str) -> str:
    try:
        agent = load_agent(name)
    except AgentUnusable as error:
        return str(error)
    except Exception as error:  # whatever its module does at its top level
        return f"agent {name!r} cannot be imported: {type_name(error)}: {as_name(error)}"
    try:
        inspect.signature(agent).bind(None, base_url="", api_key="")
    except TypeError as error:
        return (
            f"agent {name!r} cannot be called as {name.partition(':')[2]}(task_input, "
            f"base_url=…, api_key=…): {error}"
        )
    except ValueError:  # a callable written in C: it will be seen when it is called
        return ""
    return ""
