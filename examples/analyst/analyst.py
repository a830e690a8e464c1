# %% [markdown]
# # An analyst's hour
#
# What was learned, from what, and is anything lost? Every answer is a saved query, the same that
# `headrace sql --list` names and `docs/sql.md` explains. headrace has to be up.

# %%
import math
from typing import Any

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.saved import saved_queries
from headrace.infra.settings import load
from headrace.infra.terminal.rows import lines_of

Rows = list[dict[str, Any]]
settings = load()  # of headrace.toml where the notebook runs, and of the environment
POLICY = settings.policy.name
client = ClickHouse(settings.clickhouse_config)


def ask(name: str, **given: object) -> Rows:
    """The rows of a saved query, printed too."""
    query = saved_queries()[name]
    rows: Rows = client.query(
        query.sql, query.values({key: str(value) for key, value in given.items()})
    )
    print("\n".join(lines_of(rows)))
    return rows


# %% [markdown]
# ## Is anything lost?
#
# All rollouts that were asked for are somewhere. If `balanced` is false, stop here.

# %%
balance = ask("ledger_balance")

# %%
dropped = ask("drop_ledger")

# %% [markdown]
# ## Does it learn?

# %%
versions = ask("versions")
published: Rows = client.query(
    "SELECT version FROM versions WHERE policy = {policy:String}", {"policy": POLICY}
)
newest = max(row["version"] for row in published)

# %%
curve: Rows = client.query(
    "SELECT version, split, reward, low, high FROM reward_by_policy "
    "WHERE policy = {policy:String} ORDER BY split, version",
    {"policy": POLICY},
)


def draw(rows: Rows) -> object:
    """The curve, where matplotlib is installed; the numbers are in the table."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    for split in sorted({row["split"] for row in rows}):
        part = [row for row in rows if row["split"] == split]
        axes.plot([row["version"] for row in part], [row["reward"] for row in part], label=split)
    axes.set(xlabel="version", ylabel="mean reward")
    axes.legend()
    return figure


print("\n".join(lines_of(curve)))
draw(curve)

# %% [markdown]
# ## Which rewards move?
#
# A mean can rise because one dimension is gamed: look at each.

# %%
dimensions = ask("reward_dimensions")

# %% [markdown]
# ## Do groups teach anything?
#
# `zero_advantage` groups are too easy or too hard; `staleness` is how old what they teach is.

# %%
outcomes = ask("group_outcomes")
lags = ask("staleness")

# %% [markdown]
# ## Is the newest version better than version 0, on equal tasks?
#
# Only tasks whose answers differ tell; under "no better, no worse" each such flip is a coin's.

# %%
pairs = ask("compare_versions", policy=POLICY, a=0, b=newest)
better = sum(row["verdict"] == "better" for row in pairs)
worse = sum(row["verdict"] == "worse" for row in pairs)
flips = better + worse
tail = sum(math.comb(flips, k) for k in range(min(better, worse) + 1)) / 2**flips
print(f"{better} better, {worse} worse, p = {min(1.0, 2 * tail):.3f}")

# %% [markdown]
# ## Read a flip, both sides

# %%
for row in pairs:
    if row["verdict"] != "same":
        for rollout in (row["rollout_a"], row["rollout_b"]):
            said = client.query(
                "SELECT role, content FROM messages "
                "WHERE is_new AND rollout_id = {rollout:String} ORDER BY called_at, position",
                {"rollout": rollout},
            )
            print(rollout, *lines_of(said), sep="\n")
        break

# %% [markdown]
# ## What was the newest version made of, and would it be made so again?

# %%
lineage = client.query(
    "SELECT rollout_id, reward_used, reward_now, advantage_used, advantage_now, revised "
    "FROM lineage WHERE policy = {policy:String} AND version = {version:Int32}",
    {"policy": POLICY, "version": newest},
)
print("\n".join(lines_of(lineage)))

# %%
ancestry = ask("trained_as_of", policy=POLICY, version=newest)

# %% [markdown]
# What users had said when it was made; what they said since is in `rewards` alone.

# %%
known = ask("rewards_as_of", policy=POLICY, version=newest)

# %% [markdown]
# ## What does it cost?
#
# Prices are yours: rows of the table `prices`. Without them the cost is empty.

# %%
cost = ask("cost_per_solved", threshold=1.0)
tokens = ask("tokens_by_policy")
