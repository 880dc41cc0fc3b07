"""Runs whole processes and measures them: see scripts/bench."""
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import namedtuple

# Seconds from before the fork to the end, user + system seconds of it and its children, peak resident KB.
Sample = namedtuple("Sample", "wall cpu peak")


def die(message):
    progress("")
    sys.exit("streamhost: " + message)


def progress(text):
    """The line at the bottom of a terminal; elsewhere nothing."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:110])
        sys.stderr.flush()


def processors(count):
    """So many of those that this process may use, or None where there are fewer."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[:count] if len(usable) >= count else None


def pinned(command, cores):
    return ["taskset", "-c", ",".join(str(core) for core in cores)] + command if cores else command


class Meter:
    """Runs commands through the small program that measures them (meter.c)."""

    def __init__(self, program):
        self.program = program

    def run(self, command, stdin=None, output=os.devnull, cores=None):
        # taskset comes first: its own few hundred microseconds are no part of what is measured.
        command = pinned([self.program] + command, cores)
        environment = dict(os.environ, LC_ALL="C")
        with open(stdin or os.devnull, "rb") as source, open(output, "wb") as sink, \
                tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as result:
            # The meter writes to descriptor 3: what is there in the child is this duplicate.
            def three():
                os.dup2(result.fileno(), 3)

            process = subprocess.Popen(
                command, stdin=source, stdout=sink, stderr=errors, env=environment, close_fds=False, preexec_fn=three)
            process.wait()
            result.seek(0)
            fields = result.read().split()
            if process.returncode != 0 or len(fields) != 5 or int(fields[0]) != 0:
                errors.seek(0)
                sys.stderr.write(errors.read().decode(errors="replace"))
                status = int(fields[0]) if len(fields) == 5 else process.returncode
                die("status %d from: %s" % (status, " ".join(command)))
        return Sample(float(fields[1]), float(fields[2]) + float(fields[3]), int(fields[4]))

    def pairs(self, ours, theirs, runs, say, **how):
        """A B A B ...: the samples of both."""
        samples = [], []
        for number in range(1, runs + 1):
            say(number)
            samples[0].append(self.run(ours, **how))
            if theirs:
                samples[1].append(self.run(theirs, **how))
        return samples


def median(samples, field):
    return statistics.median(getattr(sample, field) for sample in samples)


def ratio_of_medians(ours, theirs, field):
    below = median(theirs, field)
    return median(ours, field) / below if below > 0 else float("nan")


def median_of_ratios(ours, theirs, field):
    ratios = [getattr(a, field) / getattr(b, field) for a, b in zip(ours, theirs) if getattr(b, field) > 0]
    return statistics.median(ratios) if ratios else float("nan")


# ---- Whether two outputs are the same -------------------------------------------------------------------------------


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def plain(value):
    """A JSON value without its spelling: 1.0 is 1; the order of fields goes when it is written sorted."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def normal_lines(path):
    with open(path, "rb") as file:
        for line in file:
            yield json.dumps(plain(json.loads(line)), sort_keys=True)


def same(ours, theirs, is_json):
    """"bytes", "values" (JSON that is only spelt in another way, line by line), or the first difference."""
    if digest(ours) == digest(theirs):
        return "bytes", None
    if not is_json:
        return None, "the outputs differ"
    mine, peers = list(normal_lines(ours)), list(normal_lines(theirs))
    for number, (a, b) in enumerate(zip(mine, peers), 1):
        if a != b:
            return None, "line %d differs:\n  %s\n  %s" % (number, a, b)
    if len(mine) != len(peers):
        return None, "%d lines and %d lines" % (len(mine), len(peers))
    return "values", None
