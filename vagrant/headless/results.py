"""What each kernel was found to do."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from headless.archive import cache_directory
from headless.guest import Outcome
from headless.kernels import Kernel


def record_of(kernel: Kernel, outcome: Outcome) -> dict[str, Any]:
    """What of one run is kept, as JSON."""
    return {
        "kernel": kernel.name,
        "hello": outcome.hello,
        "verdict": outcome.verdict,
        "accelerator": outcome.accelerator,
        "seconds": round(outcome.seconds, 1),
        "messages": outcome.messages,
    }


def keep(record: dict[str, Any]) -> None:
    """Write it into the cache, in the place of the kernel's last one."""
    directory = cache_directory() / "results"
    directory.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1)
    (directory / f"{record['kernel']}.json").write_text(text + "\n")


def summary_of(outcome: Outcome) -> str:
    """One line for each stage, and one for each test that did not pass."""
    lines = []
    for stage in (message for message in outcome.messages if "code" in message):
        tests = [test for test in outcome.tests if test["stage"] == stage["stage"]]
        numbers = Counter(test["outcome"] for test in tests)
        told = ", ".join(f"{count} {what}" for what, count in sorted(numbers.items()))
        lines.append(f"   {stage['stage']:16} {told or 'nothing ran'} ({stage['seconds']:.0f} s)")
        lines += [f"      {t['outcome']}: {t['test']}" for t in tests if t["outcome"] == "failed"]
    return "\n".join(lines)
