"""What the parts of scripts/bench share: the command line, the inputs, the description of the machine."""
import argparse
import os
import platform
import subprocess
import sys

import measure
import workloads

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(BENCH))
GENERATORS = {"json": "make_access_log", "combined": "make_combined_log"}
# Held against a figure, not against a peer: see memory.py and decisions.py.
MEMORY = {
    "decisions": "a limiter's decision from Lua, in nanoseconds (at most 50)",
    "preemption": "what preemption costs a script that computes, and timers beside such (within 3 %, p99 under 25 ms)",
    "attacks": "from a limit to the stop of what attacks it, in milliseconds (p99 under 50)",
    "parked": "10 000 parked workers: memory and CPU of each (under 30 KB, 60 us)",
    "memory": "peak of memory at a tenth of a large input and at its end (flat: within 10 %)",
}


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench", usage="see scripts/bench --help", add_help=False)
    parser.add_argument("--host", default="")
    parser.add_argument("--work", default="")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--missing", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--json")
    for flag in ("--quick", "--large", "--readme", "--instructions", "--update", "--list"):
        parser.add_argument(flag, action="store_true")
    chosen = parser.parse_args()
    chosen.every = workloads.workloads(BENCH, chosen.work, chosen.python)
    names = [workload.name for workload in chosen.every] + list(MEMORY)
    for name in chosen.only:
        if name not in names:
            parser.error("--only %s: there is no such workload; there are %s" % (name, ", ".join(names)))
    if chosen.runs is not None and chosen.runs < 1:
        parser.error("--runs expected a positive number, got %d" % chosen.runs)
    if chosen.readme and (chosen.only or chosen.quick or chosen.missing):
        parser.error("--readme needs the whole table: not with --only, --quick or missing peers")
    if chosen.update and not chosen.instructions:
        parser.error("--update goes with --instructions")
    if chosen.instructions and (chosen.readme or chosen.large or chosen.json):
        parser.error("--readme, --large and --json are the table's: not with --instructions")
    uncounted = [workload.name for workload in chosen.every if not workload.steps] + list(MEMORY)
    if chosen.instructions and set(chosen.only) & set(uncounted):
        parser.error("--instructions does not count these: " + ", ".join(uncounted))
    chosen.wanted = lambda name: not chosen.only or name in chosen.only
    return chosen


def input_path(work, kind, lines):
    """The input of so many lines, written where it is not there or older than its generator."""
    if kind is None:
        return None
    generator = os.path.join(BENCH, GENERATORS[kind])
    path = os.path.join(work, "%s-%d.log" % (kind, lines))
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(generator):
        measure.progress("writing %d lines (%s)" % (lines, kind))
        with open(path + ".part", "wb") as sink:
            subprocess.run([sys.executable, generator, str(lines)], stdout=sink, check=True)
        os.replace(path + ".part", path)
    return path


def filled(command, count):
    return [word.replace("{n}", str(count)) for word in command]


def script(chosen, workload, count):
    return [chosen.host, "run", os.path.join(BENCH, workload.script)] + filled(workload.arguments, count)


# ---- The machine ----------------------------------------------------------------------------------------------------


def first_line(command):
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return None
    lines = result.stdout.decode(errors="replace").splitlines()
    return lines[0].strip() if lines else None


def versions(chosen):
    """Each peer that is there, by its own words."""
    orjson = "import sys, orjson; print('python', sys.version.split()[0], 'orjson', orjson.__version__)"
    plain = "import sys; print('python', sys.version.split()[0])"
    commands = {
        "go": ["go", "version"], "lua": ["lua5.4", "-v"], "jq": ["jq", "--version"], "gawk": ["gawk", "--version"],
        "mawk": ["mawk", "-W", "version"],
        "python": [chosen.python, "-c", plain if "orjson" in chosen.missing else orjson],
    }
    found = {name: first_line(command) for name, command in commands.items() if name not in chosen.missing}
    for name, text in found.items():
        if text and name in ("gawk", "lua"):
            text = " ".join(text.split()[:3]).split(",")[0].replace("Copyright", "").strip()
        found[name] = text and text.replace("go version ", "")
    return {name: text for name, text in found.items() if text}


def machine():
    model = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    git = ["git", "-C", ROOT]
    commit = first_line(git + ["rev-parse", "--short", "HEAD"]) or "unknown"
    diff = git + ["diff", "--quiet", "HEAD", "--", "Sources", "stdlib-lua"]
    if subprocess.run(diff, stderr=subprocess.DEVNULL).returncode != 0:
        commit += " and changes"
    return {
        "cores": len(os.sched_getaffinity(0)), "cpu": model, "kernel": platform.release(), "commit": commit,
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    options()
