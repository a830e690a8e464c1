"""Steps that are not finite, one after the other, halt the trainer until a person resumes it."""

from dataclasses import replace

import pytest

from headrace.connectors.kafka import HALTED, RESUMED, HaltLog
from headrace.schemas.vocabulary import HaltReason
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.run import NON_FINITE_STEPS
from headrace.trainer.step import TrainStep
from tests.integration.trainer.bench import CREDITS, SECONDS, TrainerBench
from tests.support.waiting import wait_until


def test_three_broken_steps_in_a_row_halt_it_durably(
    bench: TrainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise NonFiniteStep("the loss is nan")

    *broke, after = bench.group_ids(NON_FINITE_STEPS + 1)
    halts = HaltLog(bench.kafka, bench.codec)
    key = (f"headrace.trainer.{bench.policy}", (CREDITS, 0))
    with monkeypatch.context() as patched, bench.trainer() as running:
        patched.setattr(TrainStep, "run", broken)
        bench.await_version(0)
        bench.put(*broke)
        wait_until(lambda: running.doing() == "halted", "the halt of the trainer", SECONDS)
        halt = halts.read()[key]
    assert (halt.stage, halt.reason, halt.state) == ("trainer", HaltReason.NON_FINITE, HALTED)
    assert "the loss is nan" in halt.message
    assert "before you resume" in halt.message
    assert {(o.group_id, o.reason) for o in bench.outcomes()} == {
        (group, "non_finite") for group in broke
    }
    with bench.trainer() as running:  # another life stands still as well
        wait_until(lambda: running.doing() == "halted", "the halted trainer's beat", SECONDS)
        halts.write(replace(halt, state=RESUMED))
        bench.put(after)
        bench.await_version(1)
    assert bench.versions()[-1].groups == [after]
    halts.close()
