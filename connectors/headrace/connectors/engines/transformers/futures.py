"""Answering the callers of an engine, who may have gone in the meantime."""

from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def resolve(future: Future[Answer], answer: Answer) -> None:
    """Give an answer to whoever still wants it."""
    if _is_wanted(future):
        future.set_result(answer)


def fail(future: Future[Answer], error: BaseException) -> bool:
    """Give an error to whoever still wants an answer; whether somebody did."""
    if not _is_wanted(future):
        return False
    future.set_exception(error)
    return True


def _is_wanted(future: Future[Answer]) -> bool:
    # The caller may cancel at any moment before this, and not after.
    return not future.done() and future.set_running_or_notify_cancel()
