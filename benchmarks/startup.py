"""What a fresh process pays: import time and memory, beside Python's own asyncio and json."""

from __future__ import annotations

import subprocess
import sys

from measure import Row, Table

CODE = """
import time
before = time.perf_counter()
{statement}
took = time.perf_counter() - before
resident = [line for line in open("/proc/self/status") if line.startswith("VmRSS")][0]
print(took * 1000, int(resident.split()[1]) / 1024)
"""

STATEMENTS = {
    "nothing": "pass",
    "asyncio, json, hashlib, logging": "import asyncio, json, hashlib, logging",
    "import llamina": "import llamina",
    "from llamina import all seven layers": (
        "from llamina import Cache, CircuitBreaker, CostMeter, Dedup, Logger, Retry, Timeout, build_stack"
    ),
    "httpx": "import httpx",
    "openai": "import openai",
}


def fresh(statement: str) -> tuple[float, float]:
    """Milliseconds and megabytes of a fresh process."""
    code = CODE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return float("nan"), float("nan")
    milliseconds, megabytes = done.stdout.split()
    return float(milliseconds), float(megabytes)


async def startup() -> Table:
    """Import time and memory, the best of seven, in turns."""
    best: dict[str, tuple[float, float]] = dict.fromkeys(STATEMENTS, (float("inf"), float("inf")))
    for _ in range(7):
        for name, statement in STATEMENTS.items():
            took, memory = fresh(statement)
            best[name] = (min(best[name][0], took), min(best[name][1], memory))
    base = best["asyncio, json, hashlib, logging"][0]
    table = Table("Import", "Fresh processes, best of seven; memory is what the process holds then.")
    for name, (took, memory) in best.items():
        if took == took:  # a package that is not installed has no figure
            table.rows.append(
                Row(f"{name}: time", took, "ms", took / base, "75 ms" if name == "import llamina" else "")
            )
            table.rows.append(Row(f"{name}: memory", memory, "MB", None, "25 MB" if name == "import llamina" else ""))
    return table


SECTIONS = [startup]
