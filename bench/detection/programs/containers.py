"""Starts COUNT containers at once, lets them live, and deletes them.

Usage: containers.py BUNDLES-DIRECTORY SECONDS; each directory in it is a bundle, named as its id.
"""

import os
import subprocess
import sys
import time

TIMEOUT_SECONDS = 60


def start(state: str, bundle: str, name: str) -> subprocess.Popen[bytes]:
    options = ["--detach", "--bundle", bundle, "--pid-file", f"{bundle}/pid"]
    return subprocess.Popen(
        ["runc", "--root", state, "run", *options, name], stdin=subprocess.DEVNULL
    )


def is_alive(bundle: str) -> bool:
    try:
        with open(f"{bundle}/pid", encoding="ascii") as file:
            os.kill(int(file.read()), 0)
    except OSError:
        return False
    return True


def main() -> None:
    bundles, seconds = sys.argv[1], float(sys.argv[2])
    state = f"{bundles}.state"
    names = sorted(os.listdir(bundles))
    try:
        starting = [start(state, f"{bundles}/{name}", name) for name in names]
        failed = [name for name, process in zip(names, starting) if process.wait(TIMEOUT_SECONDS)]
        time.sleep(seconds)
        alive = sum(is_alive(f"{bundles}/{name}") for name in names)
        print(f"{len(failed)} of {len(names)} did not start, {alive} live", flush=True)
    finally:
        for name in names:
            subprocess.run(
                ["runc", "--root", state, "delete", "--force", name],
                check=False,
                timeout=TIMEOUT_SECONDS,
                stderr=subprocess.DEVNULL,
            )
    sys.exit(alive != len(names))


main()
