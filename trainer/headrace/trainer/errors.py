"""Errors of the trainer.

TrainerError
├── RowError             a row that cannot be trained: drop it with a reason
├── Refused              no other start mends it: a person has to
│   ├── PolicyLoadError      a model that cannot be trained here
│   ├── BaseChanged          a policy's base is another than that of its versions
│   └── ReferenceMissing     the version that the KL is to be taken to is not there
├── TrainerFenced        another trainer of this policy and name has taken over
├── CommitTimedOut       nobody said how a transaction ended; a restart reads it
├── CommitRefused        the broker refuses our transactions, and will go on doing so
├── NonFiniteStep        loss or gradient is not finite; the weights are untouched
└── CheckpointError
    ├── CheckpointMissing    no such checkpoint, or its optimiser state was pruned
    ├── CheckpointCorrupt    its content is not what its hash says
    └── NoSpace              the disk takes no more
"""


class TrainerError(Exception):
    """Base of the trainer's errors."""


class RowError(TrainerError, ValueError):
    """A training row is malformed or does not fit the token budget."""


class Refused(TrainerError):
    """The trainer cannot start, and starting it again would not help."""


class PolicyLoadError(Refused):
    """The model directory is missing, or its architecture is not one we can train."""


class BaseChanged(Refused):
    """The policy was begun from another base model; going on would mix the two."""


class ReferenceMissing(Refused):
    """The version that the KL is to be taken to was never published."""


class TrainerFenced(TrainerError):
    """Another trainer with this policy and name has started; this one must stop."""


class CommitTimedOut(TrainerError):
    """A transaction was open for so long that the broker has ended it, one way or the other: start
    again."""


class CommitRefused(TrainerError):
    """The broker refuses the trainer's transactions for a reason that waiting does not heal."""


class NonFiniteStep(TrainerError):
    """The step met a loss or gradient that is not finite; no weight was changed."""


class CheckpointError(TrainerError):
    """Base of the errors of checkpoints."""


class CheckpointMissing(CheckpointError):
    """A checkpoint, or the file of it that is asked for, is not there."""


class CheckpointCorrupt(CheckpointError):
    """A checkpoint does not hold what its hash says."""


class NoSpace(CheckpointError):
    """The disk is full, or the user's share of it: no checkpoint was written."""
