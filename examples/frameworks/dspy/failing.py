"""The agent of agent.py with a tool that fails."""

import sys

import dspy


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    dspy.configure(lm=dspy.LM("openai/gpt-4o-mini"))
    react = dspy.ReAct("question -> answer", tools=[multiply], max_iters=3)
    return react(question=question).answer


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
