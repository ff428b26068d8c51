"""Whether the kernel lets the return of its functions be traced: no file tells, so it is tried."""

from __future__ import annotations

import os
from dataclasses import replace

from threadtrace.probe import kernel
from threadtrace.probe.btf import KernelTypes
from threadtrace.probe.host import TRACED_FUNCTIONS, HostFacts, symbols_of
from threadtrace.probe.offsets import return_value_offset
from threadtrace.probe.plan import RefusalHook


def try_traced_functions(
    facts: HostFacts, types: KernelTypes | None, wanted: RefusalHook
) -> HostFacts:
    """The facts with ``fexit_functions`` and ``return_probe_symbols``.

    Only as far as the plan will need them: placing and removing a return probe takes its time.

    Args:
        facts: what is known so far.
        types: the kernel's types, None where it has no BTF.
        wanted: the hook that the user wants.
    """
    if wanted in (RefusalHook.TRACEPOINT, RefusalHook.OFF):
        return facts
    if wanted is not RefusalHook.KRETPROBE and types is not None:
        facts = replace(facts, fexit_functions=_fexit_functions(types))
        if facts.fexit_functions == set(TRACED_FUNCTIONS) or wanted is RefusalHook.FEXIT:
            return facts
    if types is not None and return_value_offset(types) is None:
        return facts
    return replace(facts, return_probe_symbols=tuple(_return_probe_symbols(facts)))


def _fexit_functions(types: KernelTypes) -> frozenset[str]:
    ids = {name: types.function_id(name) for name in TRACED_FUNCTIONS}
    return frozenset(
        name for name, number in ids.items() if number and kernel.can_trace_return(number)
    )


def _return_probe_symbols(facts: HostFacts) -> list[tuple[str, str]]:
    """Where the symbol table has several of a name, nobody knows which is called: left out."""
    if facts.return_probe_type is None:
        return []
    found = []
    for function in TRACED_FUNCTIONS:
        symbols = symbols_of(function)
        if len(symbols) == 1 and _takes_return_probe(facts, facts.return_probe_type, symbols[0]):
            found.append((function, symbols[0]))
    return found


def _takes_return_probe(facts: HostFacts, event_type: int, symbol: str) -> bool:
    try:
        os.close(kernel.open_return_probe(event_type, symbol, facts.online_cpu))
    except OSError:
        return False
    return True
