"""What the trainer's settings choose from. Imports nothing: the step runs without the settings."""

from typing import Literal

Aggregation = Literal["horizon", "episode_mean", "token_mean"]
Attention = Literal["dense", "flex"]
Correction = Literal["ratio", "tis"]
KlKind = Literal["k1", "k2", "k3", "k3_unbiased"]
Stale = Literal["wait", "withhold", "drop"]
