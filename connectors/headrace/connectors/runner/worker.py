"""A worker process: runs jobs in threads and says what came of them."""

import os
import signal
import threading
from multiprocessing.connection import Connection

from headrace.connectors.loopback import exempt
from headrace.connectors.runner.agent import call_agent, import_from_here
from headrace.connectors.runner.jobs import Done, Failure, Job
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry
from headrace.connectors.sdk.described import error_facts, type_name

_FLUSH_S = 10.0


def main(connection: Connection, config: SdkConfig) -> None:
    """Run jobs that come over the connection until it says None or its other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group
    exempt()  # the agents' own clients reach the gateway without a proxy
    import_from_here()
    # Started by the first span that a tool records itself: most agents record none.
    telemetry = Telemetry(config, lazy=True)
    sending = threading.Lock()

    def run(job: Job) -> None:
        try:
            done = _run(job, telemetry)
        except BaseException as error:  # whatever it is, the runner waits for an answer
            failure = Failure(name=type_name(error), message="", trace="")
            done = Done(key=job.key, failure=failure)
        with sending:
            connection.send(done)

    while True:
        try:
            job: Job | None = connection.recv()
        except EOFError:  # the runner is gone
            job = None
        if job is None:
            telemetry.close()
            os._exit(0)  # an agent that hangs must not keep the process
        threading.Thread(target=run, args=(job,), daemon=True).start()


def _run(job: Job, telemetry: Telemetry) -> Done:
    attempt = Attempt(
        telemetry,
        job.rollout_id,
        job.attempt,
        project=job.project,
        subject=job.subject,
        agent=job.agent,
        root=job.root,
    )
    try:
        exempt(os.environ, job.base_url)
        with attempt:
            result = call_agent(job)
        done = Done(key=job.key, output=result.text, replaced=result.replaced)
    except BaseException as error:  # SystemExit too: an agent ends its attempt, not the worker
        name, message, trace = error_facts(error)
        failure = Failure(name=name, message=message, trace=trace)
        done = Done(key=job.key, failure=failure)
    if attempt.emitted:  # the end marker may not overtake the tools' spans
        telemetry.flush(_FLUSH_S)
    return done
