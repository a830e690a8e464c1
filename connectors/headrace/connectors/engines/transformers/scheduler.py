"""The thread that owns the model: one decode step after another, changes in between."""

import logging
import math
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock, Thread
from typing import Any

import torch
from torch import Tensor

from headrace.connectors.engines.base import EngineStats, Generation
from headrace.connectors.engines.delivery import Outbox
from headrace.connectors.engines.errors import (
    EngineClosed,
    EngineError,
    GenerationFailed,
    InvalidRequest,
)
from headrace.connectors.engines.transformers.batch import DecodeBatch, merge
from headrace.connectors.engines.transformers.constraints import masked
from headrace.connectors.engines.transformers.futures import fail, resolve
from headrace.connectors.engines.transformers.inbox import Inbox
from headrace.connectors.engines.transformers.memory import causal_mask
from headrace.connectors.engines.transformers.prefill import Prefill
from headrace.connectors.engines.transformers.row import DecodeRow
from headrace.connectors.engines.transformers.sampling import adjusted, sample, uniform
from headrace.connectors.engines.transformers.versions import VersionJob, Versions
from headrace.connectors.engines.transformers.weights import Weights, read_weights

logger = logging.getLogger(__name__)


class Scheduler:
    """Dynamic batching over the versions in memory.

    Each turn of the loop: take what has arrived, serve at most one change of version, drop
    cancelled rows, prefill what fits, then one decode step for each version that has rows.
    Requests join and leave between steps.
    """

    def __init__(
        self,
        versions: Versions,
        *,
        max_batch: int,
        shared_tokens: int,
        window_s: float,
        threads: int | None,
    ) -> None:
        self.versions = versions
        self._max_batch = max_batch
        self._prefill = Prefill(shared_tokens)
        self._inbox = Inbox(versions, max_batch=max_batch, window_s=window_s)
        self._batches: dict[int, DecodeBatch] = {}
        self._answers: list[tuple[DecodeRow, Generation]] = []
        self._outbox = Outbox()
        self._is_blocked = False
        self._is_closing = False
        self._lock = Lock()
        self._has_ended = False
        self._failure: BaseException | None = None
        self._failures = self._tokens = self._prompt_tokens = self._swaps = 0
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="headrace-weights")
        self._thread = Thread(
            target=self._run, args=(threads,), name="headrace-engine", daemon=True
        )
        self._thread.start()

    # Called by any thread.

    def submit(self, message: DecodeRow | VersionJob) -> None:
        """Hand in a request or a version to bring in; its future is resolved in any case."""
        with self._lock:
            if not self._has_ended:
                self._inbox.send(message)
                return
        future: Future[Any] = message.future
        fail(future, self._closed_error())

    def stats(self) -> EngineStats:
        running = sum(len(batch) for batch in list(self._batches.values()))
        return EngineStats(
            running=running,
            waiting=len(self._inbox),
            requests_total=self._inbox.requests_total,
            failures_total=self._failures,
            tokens_total=self._tokens,
            prompt_tokens_total=self._prompt_tokens,
            shared_prompt_tokens_total=max(0, self._prompt_tokens - self._prefill.computed_tokens),
            swaps_total=self._swaps,
        )

    def close(self) -> None:
        """Stop the thread after its step, and fail what it still has. Blocks."""
        self._is_closing = True
        self._inbox.send(None)
        self._thread.join()
        self._loader.shutdown()

    # Called by the engine's thread alone.

    def _run(self, threads: int | None) -> None:
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            with torch.inference_mode():
                progress = False
                while not self._is_closing:
                    self._inbox.take(block=not progress, stop=lambda: self._is_closing)
                    progress = self._turn()
        except BaseException as error:
            # A fault of this loop itself: nothing may wait for a thread that is gone.
            logger.exception("the engine's thread failed; the engine is closed")
            self._failure = error
        finally:
            with self._lock:
                self._has_ended = True
            self._fail_everything()

    def _turn(self) -> bool:
        """One turn of the loop; whether there was anything to do."""
        progress = self._serve_job()
        self._drop_cancelled()
        progress |= self._admit()
        for version, batch in list(self._batches.items()):
            progress = True
            self._decode(version, batch)
        return progress

    # Versions

    def _serve_job(self) -> bool:
        """Bring in the version that waits longest, if its weights are read and there is a place."""
        self._is_blocked = False
        jobs = self._inbox.jobs
        if not jobs:
            return False
        job = jobs[0]
        if not self.versions.has(job.version, job.directory):
            if job.weights is None:
                job.weights = self._loader.submit(read_weights, job.directory)
                job.weights.add_done_callback(lambda _: self._inbox.send(None))
            if not job.weights.done():
                return False
            if not self.versions.can_place(job.version, self._batches):
                self._is_blocked = True
                return False
        jobs.popleft()
        try:
            if job.weights is not None:
                self._place(job, job.weights.result())
        except Exception as error:
            logger.warning("version %d was not loaded: %s", job.version, error)
            self._refuse(job, error)
            return True
        if job.activate:
            self._activate(job.version)
        resolve(job.future, None)
        return True

    def _place(self, job: VersionJob, weights: Weights) -> None:
        evicted = self.versions.place(job.version, job.directory, weights, self._batches)
        self._prefill.prefixes.forget(job.version)
        if evicted is not None:
            self._prefill.prefixes.forget(evicted)
        logger.info("version %d is in memory, %s left", job.version, evicted)

    def _refuse(self, job: VersionJob, error: Exception) -> None:
        fail(job.future, error)
        if not job.activate:
            # It was wanted by requests that pin the version.
            self._fail_rows(self._inbox.withdraw(job.version), error)

    def _activate(self, version: int) -> None:
        old = self.versions.current
        if version == old:
            return
        self.versions.current = version
        self._swaps += 1
        batch = self._batches.pop(old, None)
        if batch is None:
            return
        pinned = [i for i, row in enumerate(batch.rows) if row.request.version is not None]
        free = [i for i, row in enumerate(batch.rows) if row.request.version is None]
        if pinned:
            self._batches[old] = batch.select(pinned) if free else batch
        if free:
            self._join(version, batch.select(free) if pinned else batch)

    # Requests

    def _admit(self) -> bool:
        room = self._max_batch - sum(len(batch) for batch in self._batches.values())
        wanted = len(self._inbox.jobs)
        chosen = self._inbox.admit(room, is_blocked=self._is_blocked)
        for version, rows in chosen.items():
            self._start(version, rows)
        return bool(chosen) or len(self._inbox.jobs) > wanted

    def _start(self, version: int, rows: list[DecodeRow]) -> None:
        try:
            for batch, logits in self._prefill.run(self.versions.model(version), version, rows):
                self._prompt_tokens += sum(len(row.request.prompt_ids) for row in batch.rows)
                rest = self._accept(version, batch, logits)
                if len(rest):
                    self._join(version, rest)
                self._send_answers()
        except Exception as error:
            logger.exception("prefill of %d requests failed", len(rows))
            running = {id(row) for batch in self._batches.values() for row in batch.rows}
            self._fail_rows([row for row in rows if id(row) not in running], error)

    def _join(self, version: int, batch: DecodeBatch) -> None:
        running = self._batches.get(version)
        self._batches[version] = batch if running is None else merge(running, batch)

    def _decode(self, version: int, batch: DecodeBatch) -> None:
        try:
            batch.reserve()
            new = torch.ones(len(batch), 1, dtype=torch.bool, device=batch.seen.device)
            logits = self.versions.model(version).forward(
                batch.next_tokens(),
                batch.next_positions(),
                causal_mask(batch.seen, new),
                batch.memory,
            )
            batch.commit()
            rest = self._accept(version, batch, logits)
        except Exception as error:
            logger.exception("a decode step of %d requests failed", len(batch))
            del self._batches[version]
            self._fail_rows(batch.rows, error)
            return
        self._keep(version, rest)
        self._send_answers()

    def _accept(self, version: int, batch: DecodeBatch, logits: Tensor) -> DecodeBatch:
        """Sample a token for each row and answer the rows that end; the others."""
        sampling = [row.request.sampling for row in batch.rows]
        uniforms = [uniform(row.seed, len(row.token_ids)) for row in batch.rows]
        logits = adjusted(logits, sampling, [row.token_ids for row in batch.rows])
        logits = masked(logits, [row.mask for row in batch.rows])
        drawn = sample(logits, sampling, uniforms)
        going = []
        for i, row in enumerate(batch.rows):
            if not math.isfinite(drawn.logprobs[i]):
                self._fail_rows([row], _not_finite(row, version))
                continue
            self._tokens += 1
            most = row.request.top_logprobs
            top = drawn.most_probable(i, most) if most else None
            try:
                step, generation = row.accept(drawn.tokens[i], drawn.logprobs[i], version, top)
            except InvalidRequest as error:
                self._fail_rows([row], error)
                continue
            if row.delivery is not None:
                self._outbox.put(row.delivery, step)
            if generation is None:
                going.append(i)
            else:
                self._answers.append((row, generation))
        return batch if len(going) == len(batch) else batch.select(going)

    def _send_answers(self) -> None:
        # After the rows have left their batch, so that stats() is right for whoever gets them.
        self._outbox.announce()
        for row, generation in self._answers:
            resolve(row.future, generation)
        self._answers.clear()

    def _drop_cancelled(self) -> None:
        for version, batch in list(self._batches.items()):
            going = [i for i, row in enumerate(batch.rows) if not row.is_cancelled]
            if len(going) < len(batch):
                self._keep(version, batch.select(going))

    def _keep(self, version: int, batch: DecodeBatch) -> None:
        if len(batch):
            self._batches[version] = batch
        else:
            del self._batches[version]

    # Failures

    def _fail_rows(self, rows: list[DecodeRow], cause: BaseException) -> None:
        for row in rows:
            if isinstance(cause, EngineError):
                error: EngineError = cause
            else:
                error = GenerationFailed(f"The model failed on this request: {cause!r}")
                error.__cause__ = cause
            if fail(row.future, error):
                self._failures += 1

    def _fail_everything(self) -> None:
        """Answer whatever is left: the thread is ending, and nothing more comes in."""
        self._send_answers()
        self._inbox.take(block=False, stop=lambda: True)
        closed = self._closed_error()
        for message in self._inbox.clear():
            if isinstance(message, DecodeRow):
                self._fail_rows([message], closed)
            else:
                fail(message.future, closed)
        self._fail_rows([row for batch in self._batches.values() for row in batch.rows], closed)
        self._batches.clear()

    def _closed_error(self) -> EngineClosed:
        reason = f": it failed with {self._failure!r}" if self._failure else ""
        error = EngineClosed(f"The engine is closed{reason}. Start a new one.")
        error.__cause__ = self._failure
        return error


def _not_finite(row: DecodeRow, version: int) -> Exception:
    if row.mask is not None:
        return InvalidRequest("the constraint cannot be kept: no token of the model continues it")
    return ArithmeticError(f"logits of version {version} not finite")
