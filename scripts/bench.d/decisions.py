"""What a decision of a limiter costs a script, in nanoseconds: see scripts/bench."""
import os

import measure
import setting

NANOSECONDS = 50
# Name, script, arguments after the count, processors, what is measured: where one worker runs alone its CPU, which other
# programs disturb less.
CASES = [
    ("one worker, granted", "limiter.lua", ["granted"], 1, "cpu"),
    ("one worker, refused", "limiter.lua", ["refused"], 1, "cpu"),
    ("two workers, granted", "limiter_two.lua", [], 2, "wall"),
]


def decisions(chosen):
    """Of each case the median of the differences of two sizes so that starting is not in it."""
    meter = measure.Meter(os.path.join(chosen.work, "meter"))
    few, many = (100000, 1100000) if chosen.quick else (500000, 10500000)
    runs = chosen.runs or (3 if chosen.quick else 7)
    results = []
    for name, script, arguments, number, field in CASES:
        cores = measure.processors(number)
        if cores is None:
            continue

        def command(count):
            return [chosen.host, "run", os.path.join(setting.BENCH, script), str(count)] + arguments

        less, more = meter.pairs(
            command(few), command(many), runs,
            lambda run: measure.progress("decisions, %s: run %d of %d" % (name, run, runs)), cores=cores)
        differences = sorted(getattr(b, field) - getattr(a, field) for a, b in zip(less, more))
        value = differences[len(differences) // 2] / (many - few) * 1e9
        target = "at most %d ns" % NANOSECONDS if number == 1 else None
        results.append({
            "measure": "a limiter's decision from Lua, %s" % name, "value": "%.1f ns (%s)" % (value, {"cpu": "CPU", "wall": "wall"}[field]), "target": target,
            "met": value <= NANOSECONDS if target else None})
    return results
