"""Leaks RATE threads a second until one is refused. Usage: leak.py RATE SECONDS."""

import os
import sys
import threading
import time

SETTLE_SECONDS, LINGER_SECONDS = 2.0, 5.0


def main() -> None:
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    threading.stack_size(64 * 1024)
    time.sleep(SETTLE_SECONDS)
    onset = time.monotonic()
    print(f"onset {onset:.9f}", flush=True)
    end, number, was_refused = onset + seconds, 0, False
    while time.monotonic() < end:
        try:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        except RuntimeError:
            if not was_refused:
                was_refused = True
                print(f"refused {time.monotonic():.9f}", flush=True)
                end = min(end, time.monotonic() + LINGER_SECONDS)
        number += 1
        time.sleep(max(0.0, onset + number / rate - time.monotonic()))
    os._exit(0)


main()
