"""Parsl's interchange, ended with the process that started it.

Parsl's own outlives a killed driver, and with it the workers and the jobs. When this one is gone, the workers miss its
heartbeat and end too.

Run as ``python -m densnet_parsl.interchange PID`` with the driver's process id.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

_PERIOD = 1.0  # seconds


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PERIOD)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(sys.argv.pop(1)),), daemon=True).start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")
