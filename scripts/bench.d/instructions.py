"""Instructions a message under callgrind, against those that instructions.tsv holds: see scripts/bench."""
import os
import shutil
import subprocess
import sys

import measure
import setting

STORED = os.path.join(setting.BENCH, "instructions.tsv")
# A count may be this many times the stored one. Totals of one binary differ by about 0.5 % between runs, since waiting
# and waking depend on the clock: the smallest of RUNS is taken.
MOST, RUNS = 1.03, 3


def stripped(chosen):
    """A copy without debug information, which callgrind would read for minutes."""
    copy = os.path.join(chosen.work, "streamhost-stripped")
    if not os.path.exists(copy) or os.path.getmtime(copy) < os.path.getmtime(chosen.host):
        shutil.copyfile(chosen.host, copy + ".part")
        subprocess.run(["strip", "-g", copy + ".part"], check=True)
        os.chmod(copy + ".part", 0o755)
        os.replace(copy + ".part", copy)
    return copy


def instructions(chosen, workload, count):
    """Of the whole process, all threads."""
    out = os.path.join(chosen.work, "callgrind.out")
    command = measure.pinned(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, "--fair-sched=yes"]
        + setting.script(chosen, workload, count), measure.processors(1))
    path = setting.input_path(chosen.work, workload.input, count) or os.devnull
    with open(path, "rb") as source:
        result = subprocess.run(command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if result.returncode != 0:
        sys.stderr.write(result.stderr.decode(errors="replace"))
        measure.die("status %d from: %s" % (result.returncode, " ".join(command)))
    with open(out) as file:
        for line in file:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    measure.die("%s has no totals" % out)


def a_message(chosen, workload, runs):
    """The difference of two sizes, so that starting and ending are not in it."""
    totals = []
    for count in workload.steps:
        least = None
        for number in range(1, runs + 1):
            measure.progress("%s, %d messages: run %d of %d" % (workload.name, count, number, runs))
            total = instructions(chosen, workload, count)
            least = total if least is None else min(least, total)
        totals.append(least)
    return (totals[1] - totals[0]) / (workload.steps[1] - workload.steps[0])


def stored():
    counts = {}
    if os.path.exists(STORED):
        with open(STORED) as file:
            for line in file:
                if not line.startswith("#"):
                    name, count = line.split()
                    counts[name] = float(count)
    return counts


def store(counts):
    with open(STORED, "w") as file:
        file.write("# workload\tinstructions a message; written by scripts/bench --instructions --update\n")
        for name, count in counts.items():
            file.write("%s\t%.1f\n" % (name, count))


def main():
    chosen = setting.options()
    workloads = [workload for workload in chosen.every if workload.steps and chosen.wanted(workload.name)]
    chosen.host = stripped(chosen)
    before, over, unknown = stored(), [], []
    counts = dict(before)
    print("| workload | instructions a message | stored | change |\n| --- | ---: | ---: | ---: |", flush=True)
    for workload in workloads:
        count = a_message(chosen, workload, chosen.runs or (1 if chosen.quick else RUNS))
        counts[workload.name] = count
        old = before.get(workload.name)
        if old is None:
            unknown.append(workload.name)
        elif count > MOST * old:
            over.append(workload.name)
        measure.progress("")
        print("| %s | %.1f | %s | %s |" % (
            workload.name, count, "-" if old is None else "%.1f" % old,
            "-" if old is None else "%+.1f %%" % (100 * (count / old - 1))), flush=True)
    if chosen.update:
        every = [workload.name for workload in chosen.every if workload.name in counts]
        return store({name: counts[name] for name in every})
    if unknown:
        measure.die("not in bench.d/instructions.tsv, --update writes them: " + ", ".join(unknown))
    if over:
        measure.die("more than 3 % over the stored instructions a message: " + ", ".join(over))


main()
