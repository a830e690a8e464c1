"""Operations of a training step, and what share of a card's rate they take. Pure.

A multiplication with an addition counts 2. Forward and backward are three times the forward pass.
Per token read once (a shared prefix counts once): 6 × the decoder's weights, without embedding and
head. Per sampled token: 6 × vocabulary × hidden size of the head. Attention: 12 × layers × heads ×
head width per pair of a token and one that it attends (scores and values, 4 forward). MFU is their
sum over time over rate; nothing that is recomputed counts.
"""

from benchmarks.device.models import Shape

from headrace.trainer.batch import Batch


def weights(shape: Shape) -> int:
    """Weights of the decoder that a token is multiplied with, without embedding and head."""
    attention = shape.depth * shape.head_width * (2 * shape.heads + 2 * shape.key_value_heads)
    return shape.layers * (attention + 3 * shape.depth * shape.inner)


def step_flop(shape: Shape, batch: Batch) -> int:
    """Of forward and backward over a batch."""
    sampled = sum(row.sampled_ids.size for row in batch.rows)
    pairs = sum(int((pack.positions + 1).sum()) for pack in batch.packs)
    return (
        6 * weights(shape) * batch.packed_tokens
        + 6 * shape.vocabulary * shape.depth * sampled
        + 12 * shape.layers * shape.heads * shape.head_width * pairs
    )
