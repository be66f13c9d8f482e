"""Runs one command and writes what it cost: launch.py RESULT.json TIMEOUT_S STDOUT STDERR COMMAND …

A process of its own, and a small one, because the kernel counts the pages of whoever forks into the
peak memory of what is forked: started from compare.py, every contender would weigh at least as much
as compare.py's arrays.
"""

import json
import os
import subprocess
import sys
import threading
import time

result, timeout_s, stdout, stderr, *command = sys.argv[1:]

# If memory runs out, this and its child go first, not the other programs on the machine.
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("1000")

with open(stdout, "w") as out, open(stderr, "w") as err:
    start = time.perf_counter()
    try:
        child = subprocess.Popen(command, stdout=out, stderr=err)
    except OSError as error:
        sys.exit(f"{os.path.basename(command[0])} does not start: {error.strerror}")
    timer = threading.Timer(float(timeout_s), child.kill)
    timer.daemon = True
    timer.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    timer.cancel()

with open(result, "w") as file:
    measures = {
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": round(seconds, 4),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_rss_mib": round(usage.ru_maxrss / 1024, 1),
    }
    json.dump(measures, file)
