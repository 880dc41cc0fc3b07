"""How fast the limits stop what attacks them, in milliseconds: see scripts/bench and Tests/Attacks."""
import json
import os
import subprocess

import measure
import setting

MILLISECONDS = 50


def attacks(chosen):
    """Builds the runner of the attack corpus and runs every attack several times. What a delay is counted from is said in
    Tests/Attacks/AttackRun.swift."""
    measure.progress("attacks: building run-attacks")
    built = subprocess.run(
        ["swift", "build", "--package-path", setting.ROOT, "-c", "release", "--product", "run-attacks"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if built.returncode != 0:
        measure.die("run-attacks does not build:\n" + built.stdout.decode(errors="replace"))
    repeat = chosen.runs or (1 if chosen.quick else 10)
    measure.progress("attacks: %d rounds" % repeat)
    runner = os.path.join(setting.ROOT, ".build", "release", "run-attacks")
    run = subprocess.run([runner, "--json", "--repeat", str(repeat)], stdout=subprocess.PIPE, check=False)
    lines = run.stdout.decode(errors="replace").splitlines()
    if run.returncode != 0:
        measure.die("run-attacks failed:\n" + "\n".join(line for line in lines if not line.startswith("ok")))
    figures = json.loads(next(line for line in lines if line.startswith("{")))
    return [
        {
            "measure": "%d attacks, %d stops: from the limit to the stop, p50, p99, max" % (
                figures["attacks"], figures["samples"]),
            "value": "%.1f, %.1f, %.1f ms" % (figures["p50"], figures["p99"], figures["max"]),
            "target": "p99 under %d ms" % MILLISECONDS, "met": figures["p99"] < MILLISECONDS,
        },
        {
            "measure": "longest pause of a pipeline beside one attack, p99 of all",
            "value": "%.1f ms" % figures["pause_p99"], "target": None, "met": None,
        },
    ]
