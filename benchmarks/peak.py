"""The most memory that a command of ours takes: ``python -m benchmarks.peak run QUESTION.json --store DIR``.

In a process of its own, where nothing has been imported that the command would not import itself.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from mcore.cli import main


def peak(process: int | str = "self") -> int:
    """The most memory that a process, this one unless it is told, has had resident, in bytes."""
    status = Path(f"/proc/{process}/status")
    if status.exists():  # ru_maxrss would count what the parent had when it started this process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    print(peak())
    sys.exit(status)
