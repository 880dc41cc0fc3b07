"""What preemption costs a script that computes, and how late timers are beside such scripts: see scripts/bench."""
import os
import subprocess

import measure
import setting

COST, LATE_MS = 1.03, 25
NEVER = "1h"


def cost(chosen):
    """CPU of one script with slices as they are against slices so long that nothing is ever preempted, in pairs."""
    meter = measure.Meter(os.path.join(chosen.work, "meter"))
    rounds, runs = (200, 3) if chosen.quick else (2000, chosen.runs or 11)
    script = [os.path.join(setting.BENCH, "busy.lua"), str(rounds)]
    cores = measure.processors(2) or measure.processors(1)
    with_it, without = meter.pairs(
        [chosen.host, "run"] + script, [chosen.host, "run", "--slice", NEVER] + script, runs,
        lambda run: measure.progress("preemption: run %d of %d" % (run, runs)), cores=cores)
    ratio = measure.median_of_ratios(with_it, without, "cpu")
    return [{
        "measure": "a script that computes, with preemption against without (CPU)", "value": "%.3f" % ratio,
        "target": "within 3 %", "met": ratio <= COST}]


def latency(chosen):
    naps = 200 if chosen.quick else 2000
    measure.progress("timers beside busy scripts")
    run = subprocess.run(
        [chosen.host, "run", os.path.join(setting.BENCH, "latency.lua"), str(naps)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        measure.die("latency.lua ended with status %d" % run.returncode)
    median, late, worst = (float(text) for text in run.stdout.split())
    return [{
        "measure": "a timer beside four busy scripts: late by (median, p99, worst)",
        "value": "%.1f, %.1f, %.1f ms" % (median, late, worst), "target": "p99 under %d ms" % LATE_MS,
        "met": late < LATE_MS}]


def preemption(chosen):
    return cost(chosen) + latency(chosen)
