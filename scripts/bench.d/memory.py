"""Memory: what parked workers cost, and whether a large input makes the peak grow. See scripts/bench."""
import os
import subprocess
import threading
import time

import measure
import setting

PARKED_KB, PARKED_US, FLAT = 30, 60, 1.10


def status_kb(pid, name):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    measure.die("/proc/%d/status has no %s" % (pid, name))


def cpu_seconds(pid):
    """Of the threads that live, by the scheduler's own count: /proc/PID/stat counts in steps of 10 ms."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
            total += int(file.read().split()[0])
    return total * 1e-9


def result(name, value, target, met):
    return {"measure": name, "value": value, "target": target, "met": met}


# ---- Parked workers -------------------------------------------------------------------------------------------------


def park(host, count):
    """(resident KB once all wait, CPU seconds until then, CPU seconds of the whole life)."""
    process = subprocess.Popen(
        [host, "run", os.path.join(setting.BENCH, "parked.lua"), str(count)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if process.stdout.readline() != b"parked\n":
        measure.die("parked.lua %d ended before its workers were parked: status %d" % (count, process.wait()))
    time.sleep(0.3)  # the last ones go from "ready" to their wait; the script sleeps for a second
    resident, until = status_kb(process.pid, "VmRSS"), cpu_seconds(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        measure.die("parked.lua %d ended with status %d" % (count, process.returncode))
    return resident, until, usage.ru_utime + usage.ru_stime


def parked(chosen):
    count = 1000 if chosen.quick else 10000
    runs = 1 if chosen.quick else 3
    pairs = []
    for number in range(1, runs + 1):
        measure.progress("parked: run %d of %d" % (number, runs))
        none, many = park(chosen.host, 0), park(chosen.host, count)
        pairs.append([(b - a) / count for a, b in zip(none, many)])
    memory, until, life = (sorted(column)[len(column) // 2] for column in zip(*pairs))
    title = "%s parked workers, each: " % format(count, ",").replace(",", " ")
    until, life = until * 1e6, life * 1e6
    return [
        result(title + "resident memory", "%.1f KB" % memory, "under %d KB" % PARKED_KB, memory < PARKED_KB),
        result(title + "CPU until parked", "%.0f us" % until, "under %d us" % PARKED_US, until < PARKED_US),
        result(title + "CPU of the whole life", "%.0f us" % life, None, None),
    ]


# ---- Large input ----------------------------------------------------------------------------------------------------


def drain(pipe, total):
    while True:
        block = os.read(pipe.fileno(), 1 << 20)
        if not block:
            return
        total[0] += len(block)


def large(chosen):
    """The JSON filter over one block of lines again and again: the peak at a tenth and at the end, and all that must
    come out came out."""
    size = (10 if chosen.large else 1) << 30
    if chosen.quick:
        size = 64 << 20
    path = setting.input_path(chosen.work, "json", 50000)
    with open(path, "rb") as file:
        block = file.read()
    kept = sum(len(line) for line in block.splitlines(True) if int(line.split(b'"status":')[1].split(b",")[0]) >= 400)
    loops = -(-size // len(block))
    process = subprocess.Popen(
        [chosen.host, "run", os.path.join(setting.BENCH, "json_filter.lua")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    came = [0]
    reader = threading.Thread(target=drain, args=(process.stdout, came))
    reader.start()
    early, view = None, memoryview(block)
    try:
        for loop in range(loops):
            for start in range(0, len(block), 1 << 20):
                part = view[start:start + (1 << 20)]
                while part:
                    part = part[os.write(process.stdin.fileno(), part):]
            if early is None and (loop + 1) * 10 >= loops:
                early, early_bytes = status_kb(process.pid, "VmHWM"), (loop + 1) * len(block)
            measure.progress("memory: %.2f of %.2f GB" % ((loop + 1) * len(block) / 1e9, loops * len(block) / 1e9))
        late = status_kb(process.pid, "VmHWM")
    except BrokenPipeError:
        measure.die("json_filter.lua stopped reading: status %d" % process.wait())
    process.stdin.close()
    reader.join()
    if process.wait() != 0 or came[0] != loops * kept:
        measure.die("json_filter.lua over %d bytes: status %d, %d bytes came out, %d were expected" % (
            loops * len(block), process.returncode, came[0], loops * kept))
    title = "JSON lines, 2 %% kept: peak of memory after %.1f and %.1f GB" % (
        early_bytes / 1e9, loops * len(block) / 1e9)
    return [result(
        title, "%.1f and %.1f MB" % (early / 1024, late / 1024), "within 10 %", late <= FLAT * early)]
