"""What the trainer's settings choose from. Imports nothing: the step runs without the settings."""

from typing import Literal

Algorithm = Literal["grpo", "dr_grpo", "rloo", "reinforce_pp", "ppo", "dapo", "gspo", "cispo"]
Aggregation = Literal["horizon", "episode_mean", "call_mean", "token_mean"]
Attention = Literal["dense", "flex"]
AttentionSetting = Literal["auto", "dense", "flex"]
Correction = Literal["ratio", "tis", "mis", "decoupled", "none"]
CorrectionLevel = Literal["token", "sequence", "geometric"]
Denominator = Literal["before", "after"]
Gae = Literal["token", "turn"]
KlKind = Literal["k1", "k2", "k3", "k3_unbiased"]
RowLoss = Literal["ppo", "reinforce", "gspo", "cispo", "sapo"]
Reject = Literal["none", "geometric", "k2", "k3"]
Schedule = Literal["constant", "linear", "cosine"]
Stale = Literal["wait", "withhold", "drop"]
