"""Before anything is downloaded: say how much it is, and refuse a machine that cannot run it.

Standard library only: it runs before there is a virtual environment.
"""

import argparse
import os
import platform
import shutil
import sys

DOWNLOAD_GB = 3.0  # wheels, nearly all of it torch and the libraries it links to
DISK_GB = 16.0  # the environment is about 7 GB unpacked, a demo leaves 6 GB of checkpoints
MEMORY_GB = 8.0
GIGABYTE = 1e9


def memory_gb() -> float:
    """Physical memory in GB; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGABYTE
    except (ValueError, OSError, AttributeError):
        return float("inf")


def complaints(folder: str) -> list[str]:
    """What stands in the way, each with its remedy."""
    found = []
    here = f"{platform.system()} {platform.machine()}"
    if here != "Linux x86_64" or platform.libc_ver()[0] != "glibc":
        found.append(f"{here} is not supported: use Linux x86_64 with glibc (not musl)")
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        version = platform.python_version()
        found.append(f"Python {version} is not supported: `make setup PY=python3.12`")
    free = shutil.disk_usage(folder).free / GIGABYTE
    if free < DISK_GB:
        found.append(f"{free:.0f} GB of disk are free, {DISK_GB:.0f} GB are needed: free some")
    if memory_gb() < MEMORY_GB:
        found.append(f"{memory_gb():.0f} GB of memory, {MEMORY_GB:.0f} GB are needed")
    return found


def main() -> int:
    """Print what set-up will do; exit code 1 if it should not be tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disk-under", default=".", help="folder whose disk must have room")
    folder = parser.parse_args().disk_under
    found = complaints(folder)
    for complaint in found:
        sys.stderr.write(f"headrace set-up: {complaint}\n")
    if found:
        return 1
    sys.stderr.write(
        "headrace set-up for Linux x86_64 (glibc) and Python 3.11 or 3.12\n"
        f"  download  about {DOWNLOAD_GB:.0f} GB of packages, torch for the most part; later about "
        "200 MB for Kafka and the schema registry, once\n"
        f"  needs     {DISK_GB:.0f} GB of disk, {MEMORY_GB:.0f} GB of memory\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
