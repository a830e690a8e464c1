"""TRL's GRPOTrainer on the calls of `rows`, as told by lines of JSON: in TRL's own environment.

Its own loss and its own optimiser, without what it does around them (sampling, rewards, logging):
forward and backward of each micro-batch of a group, then a step. It pads and repeats prompts.
"""

import json
import resource
import sys
import tempfile
import time
from typing import Any

import torch
from benchmarks.trainer.rows import Call, calls
from datasets import Dataset  # type: ignore[import-not-found]  # TRL brings it
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]  # not ours


class Worker:
    """One model under training."""

    def __init__(self, model: str, directory: str) -> None:
        self._model, self._directory = model, directory

    def prepare(self, preset: str) -> dict[str, Any]:
        """Begin anew; `preset` is told, TRL's loss is its default's GRPO."""
        dtype = torch.float32
        model = AutoModelForCausalLM.from_pretrained(self._model, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(self._model)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        self._batch = calls(model.config.vocab_size)
        self._trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=GRPOConfig(
                output_dir=self._directory,
                use_cpu=True,
                bf16=torch.cpu._is_avx512_bf16_supported(),
                report_to="none",
                per_device_train_batch_size=8,
                gradient_accumulation_steps=6,
                num_generations=8,
                max_completion_length=96,
                learning_rate=1e-6,
                save_strategy="no",
                disable_tqdm=True,
                loss_type="dr_grpo",
                beta=0.0,
            ),
            train_dataset=Dataset.from_dict({"prompt": ["a"] * 48}),
        )
        self._trainer.model.train()
        self._trainer.current_gradient_accumulation_steps = 6
        self._optimizer = self._trainer.create_optimizer()
        read = sum(call.prompt.size + call.sampled.size for call in self._batch)
        return {"dtype": str(dtype), "bf16": bool(self._trainer.args.bf16), "row_tokens": read}

    def step(self) -> dict[str, Any]:
        """One step on the same calls as ever."""
        began, total = time.perf_counter(), 0.0
        trainer = self._trainer
        for group in dict.fromkeys(call.group for call in self._batch):
            inputs = padded([call for call in self._batch if call.group == group])
            loss = trainer.compute_loss(trainer.model, inputs)
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return {"seconds": time.perf_counter() - began, "loss": total}


def padded(group: list[Call]) -> dict[str, torch.Tensor | None]:
    """What TRL hands to its loss: completions padded on the right."""
    longest = max(call.sampled.size for call in group)

    def column(of: str, dtype: torch.dtype) -> torch.Tensor:
        parts = [torch.as_tensor(getattr(call, of)).to(dtype) for call in group]
        fill = [torch.nn.functional.pad(part, (0, longest - part.numel())) for part in parts]
        return torch.stack(fill)

    prompts = torch.stack([torch.as_tensor(call.prompt.astype("int64")) for call in group])
    lengths = torch.tensor([call.sampled.size for call in group])
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": column("sampled", torch.int64),
        "completion_mask": (torch.arange(longest) < lengths[:, None]).long(),
        "advantages": torch.tensor([call.advantage for call in group]),
        "old_per_token_logps": column("logp", torch.float32),
        "num_items_in_batch": lengths.sum(),
    }


def main() -> None:
    """Arguments: the model's directory, and the threads."""
    torch.set_num_threads(int(sys.argv[2]))
    with tempfile.TemporaryDirectory() as directory:
        worker = Worker(sys.argv[1], directory)
        for line in sys.stdin:
            asked = json.loads(line)
            told = getattr(worker, asked.pop("do"))(**asked)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({**told, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()
