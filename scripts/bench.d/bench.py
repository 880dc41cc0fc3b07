"""The table of scripts/bench, which brings the peers, builds, and then runs this."""
import datetime
import json
import os
import tempfile

import attacks
import decisions
import measure
import memory
import preemption
import setting
from workloads import STARTUP_SECONDS

HEADER = (
    "| workload | cores | streamhost: wall | CPU | peak | peer | wall | CPU | peak | ratio: wall | CPU | target |\n"
    "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |"
)
MARKS = "<!-- bench -->", "<!-- /bench -->"
# Of a start-up, in tens: one takes milliseconds.
STARTUP_RUNS, STARTUP_QUICK = 41, 11


def time_text(seconds):
    return "%.1f ms" % (seconds * 1e3) if seconds < 0.1 else "%.3f s" % seconds


def cells(samples):
    return [
        time_text(measure.median(samples, "wall")), time_text(measure.median(samples, "cpu")),
        "%.1f MB" % (measure.median(samples, "peak") / 1024),
    ]


def ratio_text(row, field):
    return "%.3g (%.3g)" % (row["ratio_" + field], row["pairs_" + field])


def verdict(row):
    if row["target"] is None:
        return ""
    return "%s: %s" % (row["target"], "ok" if row["met"] else "**MISSED** (%s)" % row["got"])


class Bench:
    def __init__(self, chosen):
        self.chosen = chosen
        self.meter = measure.Meter(os.path.join(chosen.work, "meter"))
        self.runs = chosen.runs or (3 if chosen.quick else 7)
        self.selected = [workload for workload in chosen.every if chosen.wanted(workload.name)]
        self.peers = {
            workload.name: [peer for peer in workload.peers if peer.name not in chosen.missing]
            for workload in self.selected
        }
        self.agreement = {}

    def count(self, workload):
        return workload.quick if self.chosen.quick else workload.count

    def input(self, workload):
        return setting.input_path(self.chosen.work, workload.input, self.count(workload))

    def check(self, workload, folder):
        """Runs it and each peer once; ends the bench where they do not print the same."""
        count, ours = self.count(workload), os.path.join(folder, "ours")
        measure.progress("checking %s" % workload.name)
        self.meter.run(setting.script(self.chosen, workload, count), self.input(workload), ours)
        if os.path.getsize(ours) == 0:
            measure.die("%s printed nothing" % workload.script)
        for peer in self.peers[workload.name]:
            theirs = os.path.join(folder, "theirs")
            self.meter.run(setting.filled(peer.command, count), self.input(workload), theirs)
            how, why = measure.same(ours, theirs, workload.input == "json")
            if how is None:
                measure.die("%s and %s do not do the same work (nothing was measured): %s" % (
                    workload.script, peer.label, why))
            self.agreement[workload.name, peer.name] = how

    def row(self, workload, cores, peer):
        """Measures one row: its samples, ratios and verdict."""
        count = self.count(workload)
        runs = self.runs
        if workload.name == "startup" and self.chosen.runs is None:
            runs = STARTUP_QUICK if self.chosen.quick else STARTUP_RUNS
        ours, theirs = self.meter.pairs(
            setting.script(self.chosen, workload, count), peer and setting.filled(peer.command, count), runs,
            lambda number: measure.progress("%s, %d cores, %s: run %d of %d" % (
                workload.name, len(cores), peer.label if peer else "alone", number, runs)),
            stdin=self.input(workload), cores=cores)
        row = {
            "workload": workload.name, "title": workload.title, "cores": len(cores), "count": count,
            "peer": peer and peer.label, "compared": peer and self.agreement[workload.name, peer.name],
            "ours": ours, "theirs": theirs, "target": None, "met": None, "got": None,
        }
        for field in ("wall", "cpu") if peer else ():
            row["ratio_" + field] = measure.ratio_of_medians(ours, theirs, field)
            row["pairs_" + field] = measure.median_of_ratios(ours, theirs, field)
        target = peer and peer.target
        if target and target.cores in (None, len(cores)):
            got = row["pairs_" + target.field]
            row.update(target=target.text, met=got <= target.most, got=target.got.format(got, 1 / got))
        if workload.name == "startup" and peer in (None, self.peers["startup"][0]):
            wall = measure.median(ours, "wall")
            row.update(target="under %g ms" % (STARTUP_SECONDS * 1e3), met=wall < STARTUP_SECONDS, got=time_text(wall))
        return row

    def measured(self):
        """Checks everything, then yields the rows of the table one by one."""
        with tempfile.TemporaryDirectory(dir=self.chosen.work) as folder:
            for workload in self.selected:
                self.check(workload, folder)
        for workload in self.selected:
            for number in workload.cores:
                cores = measure.processors(number)
                if cores is None and workload.name == "startup":
                    cores = measure.processors(1)
                if cores is None:
                    continue
                for peer in self.peers[workload.name] or [None]:
                    yield self.row(workload, cores, peer)


def line_of(row):
    size = "" if row["count"] == 1 else ", %s" % format(row["count"], ",").replace(",", " ")
    mark = " ¹" if row["compared"] == "values" else ""
    line = [row["title"] + size, str(row["cores"])] + cells(row["ours"])
    if row["peer"]:
        line += [row["peer"] + mark] + cells(row["theirs"]) + [ratio_text(row, "wall"), ratio_text(row, "cpu")]
    else:
        line += ["-"] * 6
    return "| " + " | ".join(line + [verdict(row)]) + " |"


def introduction(machine, versions, runs):
    cores = "%d core%s" % (machine["cores"], "" if machine["cores"] == 1 else "s")
    return "%s, %s, Linux %s, load %.1f before; commit %s, %s; %d pairs a row. %s." % (
        machine["cpu"], cores, machine["kernel"], machine["load"], machine["commit"],
        datetime.date.today().isoformat(), runs,
        ", ".join(text for _, text in sorted(versions.items())))


def put_into_readme(lines):
    path = os.path.join(setting.ROOT, "README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    begin, end = text.find(MARKS[0]), text.find(MARKS[1])
    if begin < 0 or end < begin:
        measure.die("README.md has no line %s followed by one %s" % MARKS)
    text = text[: begin + len(MARKS[0])] + "\n" + "\n".join(lines) + "\n" + text[end:]
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def list_workloads(chosen):
    for workload in chosen.every:
        print("%-18s %s" % (workload.name, workload.title))
        for peer in workload.peers:
            print("%-18s   %s%s" % ("", peer.label, ": " + peer.target.text if peer.target else ""))
    for name, title in setting.MEMORY.items():
        print("%-18s %s" % (name, title))


def main():
    chosen = setting.options()
    if chosen.list:
        return list_workloads(chosen)
    machine, versions = setting.machine(), setting.versions(chosen)
    bench, printed, rows, extra = Bench(chosen), [], [], []

    def show(line):
        measure.progress("")
        printed.append(line)
        print(line, flush=True)

    show(introduction(machine, versions, bench.runs))
    for row in bench.measured():
        if not rows:
            show("")
            show(HEADER)
        rows.append(row)
        show(line_of(row))
    if any(row["compared"] == "values" for row in rows):
        show("")
        show("¹ The outputs are the same values, line by line; order of fields or spelling of numbers differ.")
    for name, run in (
            ("decisions", decisions.decisions), ("preemption", preemption.preemption), ("attacks", attacks.attacks),
            ("parked", memory.parked), ("memory", memory.large)):
        if chosen.wanted(name):
            results = run(chosen)
            if not extra:
                show("")
                show("| figure | measured | target |\n| --- | ---: | --- |")
            extra += results
            for result in results:
                target = ""
                if result["target"]:
                    target = "%s: %s" % (result["target"], "ok" if result["met"] else "**MISSED**")
                show("| %s | %s | %s |" % (result["measure"], result["value"], target))
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "versions": versions, "rows": [
                dict(row, ours=[s._asdict() for s in row["ours"]], theirs=[s._asdict() for s in row["theirs"]])
                for row in rows], "memory": extra}, file, indent=1, ensure_ascii=False)
            file.write("\n")
    if chosen.readme:
        put_into_readme(printed)


main()
