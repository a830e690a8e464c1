"""Pictures of pages over seeded tables, for docs/: `make screenshots`."""

import shutil
import sys
from pathlib import Path

from benchmarks.console import seed, serve
from playwright.sync_api import sync_playwright

from headrace.connectors.clickhouse import ClickHouse

FOLDER = Path(__file__).parents[2] / "docs" / "console"
LAST = seed.VERSIONS - 1
PAGES = {
    "overview": "/",
    "group": "",
    "episode": "",
    "policy": "/policies/calculator",
    "version": f"/policies/calculator/{LAST}",
    "compare": f"/compare?policy=calculator&a=0&b={LAST}",
    "ledger": "/ledger",
    "rollouts": "/rollouts?policy=calculator",
    "rewards": "/rewards?policy=support#two-rules",
}
WIDTH, HEIGHT = 1200, 760


def addresses(client: ClickHouse) -> dict[str, str]:
    """What is shown of each page: the newest episode of `support`, and its group."""
    (row,) = client.query(
        "SELECT project, rollout_id, attempt, group_id FROM episodes FINAL "
        "WHERE policy = 'support' ORDER BY log_last DESC LIMIT 1"
    )
    one = {
        "episode": f"/episodes/{row['project']}/{row['rollout_id']}/{row['attempt']}",
        "group": f"/groups/{row['project']}/{row['group_id']}",
    }
    return {name: path or one[name] for name, path in PAGES.items()}


def main() -> int:
    """Write the pictures; 1: there is no Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        print("no Chromium on this machine: `apt-get install chromium`", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with serve.tables() as client, sync_playwright() as playwright:
        seed.fill(client)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        with serve.pages(client) as url:
            for name, path in addresses(client).items():
                tab = browser.new_page(
                    viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce"
                )
                tab.goto(url + path)
                tab.screenshot(path=FOLDER / f"{name}.png")
                tab.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
