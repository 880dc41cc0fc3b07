#!/usr/bin/env python3
"""Measures whole processes in pairs, A B A B ..., and prints one row of a Markdown table.

  measure.py [--runs N] [--stdin FILE] --name NAME COMMAND... [--peer COMMAND...]

One unmeasured run of each comes first; their outputs must be equal byte for byte. Time and memory are those of the whole
process and the children it waited for. A ratio is the median of the pairs' ratios, COMMAND / peer. A peak of memory
below this interpreter's own (about 15 MB) cannot be seen: the system counts what was there before the exec.
"""
import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time

HEADER = (
    "| workload | streamhost wall | cpu | peak | peer | wall | cpu | peak | ratio wall | ratio cpu |\n"
    "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
)


def run(command, stdin, output):
    """Runs once: (wall seconds, user + system seconds, peak resident MB)."""
    with open(stdin or os.devnull, "rb") as source, open(output, "wb") as sink, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=sink, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.stderr.buffer.write(errors.read())
            sys.exit("measure.py: status %d from: %s" % (process.returncode, " ".join(command)))
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def cells(samples):
    wall, cpu, peak = (statistics.median(column) for column in zip(*samples))
    return "%.3f s | %.3f s | %.0f MB" % (wall, cpu, peak)


def ratio(ours, theirs, column):
    pairs = [a[column] / b[column] for a, b in zip(ours, theirs) if b[column] > 0]
    return "%.2f" % statistics.median(pairs) if pairs else "-"


def main():
    if sys.argv[1:] == ["--header"]:
        return print(HEADER)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--stdin")
    parser.add_argument("--name", required=True)
    parser.add_argument("--peer-name", default="none")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    ours, theirs = options.rest, None
    if "--peer" in ours:
        at = ours.index("--peer")
        ours, theirs = ours[:at], ours[at + 1 :]
    if not ours or theirs == [] or options.runs < 1:
        parser.error("COMMAND is missing, or --runs is not positive")

    with tempfile.TemporaryDirectory() as folder:
        a, b = os.path.join(folder, "ours"), os.path.join(folder, "peer")
        run(ours, options.stdin, a)
        if theirs:
            run(theirs, options.stdin, b)
            if not filecmp.cmp(a, b, shallow=False):
                sys.exit("measure.py: %s: the outputs of the two differ; nothing was measured" % options.name)
        mine, peer = [], []
        for _ in range(options.runs):
            mine.append(run(ours, options.stdin, a))
            if theirs:
                peer.append(run(theirs, options.stdin, b))

    row = [options.name, cells(mine), options.peer_name]
    row += [cells(peer), ratio(mine, peer, 0), ratio(mine, peer, 1)] if theirs else ["- | - | -", "-", "-"]
    print("| " + " | ".join(row) + " |", flush=True)


main()
