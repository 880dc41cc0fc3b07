"""What scripts/bench runs: the workloads, the peers of each, and the targets."""
from collections import namedtuple

# A target: `field` (wall or cpu) of streamhost, at most `most` times the peer's; `cores`: held only there; `got` words
# a miss: {0} is the ratio, {1} its inverse.
Target = namedtuple("Target", "field most text cores got")
Peer = namedtuple("Peer", "name label command target")

# `count`: numbers, or lines of the input, in a full and in a quick run. `input`: what the lines are. `steps`: the two
# counts between which instructions are counted; None: not counted.
Workload = namedtuple("Workload", "name title script arguments input count quick cores peers steps")

JQ_FILTER = "select(.status >= 400)"
JQ_EDIT = 'select(.bytes >= 18000) | .class = if .status >= 400 then "error" else "ok" end'


def less(times, peer):
    return Target("cpu", 1 / times, "CPU %g times less than %s" % (times, peer), None, "{1:.3g} times")


def no_slower(times, peer):
    return Target("wall", times, "wall at most %g times %s's" % (times, peer), 2, "{0:.3g} times")


def within(times, peer):
    return Target("wall", times, "wall at most %g times %s's" % (times, peer), None, "{0:.3g} times")


def at_most_cpu(times, peer):
    return Target("cpu", times, "CPU at most %g times %s's" % (times, peer), None, "{0:.3g} times")


def faster(times, peer):
    return Target("wall", 1 / times, "%g times %s's speed" % (times, peer), 2, "{1:.3g} times")


def workloads(bench, work, python):
    """All of them, in the table's order. `{n}` in a command is the count."""
    file = lambda name: "%s/%s" % (bench, name)
    go = lambda name: "%s/go/%s" % (work, name)
    json_size, combined_size = (400000, 10000), (400000, 20000)
    lua_peer = ["lua5.4", file("combined_plain.lua")]
    awk = [
        Peer("gawk", "gawk", ["gawk", "-f", file("combined.awk")], None),
        Peer("mawk", "mawk", ["mawk", "-f", file("combined.awk")], None),
    ]
    return [
        Workload("integers", "integers, three stages", "integers.lua", ["{n}"], None, 5000000, 200000, (1, 2), [
            Peer("go", "Go, channel of 1024", [go("integers"), "{n}"], no_slower(1.1, "Go")),
        ], (50000, 250000)),
        Workload("strings", "100-byte strings, three stages", "strings.lua", ["{n}"], None, 3000000, 100000, (1, 2), [
            Peer("go", "Go, channel of 1024", [go("strings"), "{n}"], None),
        ], (30000, 150000)),
        Workload("records", "10-field records, one field read a stage", "records.lua", ["{n}"], None, 500000, 20000,
                 (1, 2), [
            Peer("go", "Go, map[string]any", [go("records"), "{n}"], no_slower(1.2, "Go")),
        ], (10000, 50000)),
        Workload("json_filter", "JSON lines, 2 % kept", "json_filter.lua", [], "json", *json_size, (1, 2), [
            Peer("jq", "jq", ["jq", "-c", JQ_FILTER], less(15, "jq")),
            Peer("orjson", "python3, orjson", [python, file("json_filter.py")], less(2.5, "orjson")),
            Peer("go", "Go, encoding/json", [go("json_filter")], None),
        ], (10000, 50000)),
        Workload("json_edit", "JSON lines, 90 % kept, a field added", "json_edit.lua", [], "json", *json_size,
                 (1, 2), [
            Peer("jq", "jq", ["jq", "-c", JQ_EDIT], less(8, "jq")),
            Peer("orjson", "python3, orjson", [python, file("json_edit.py")], less(1.5, "orjson")),
            Peer("go", "Go, encoding/json", [go("json_edit")], None),
        ], (10000, 50000)),
        Workload("combined", "combined-format lines, counted", "combined.lua", [], "combined", *combined_size,
                 (1, 2), [
            Peer("lua", "lua5.4", lua_peer, at_most_cpu(1.2, "lua5.4")),
        ] + awk, (5000, 25000)),
        Workload("combined_workers", "the same, two workers count", "combined_workers.lua", [], "combined",
                 *combined_size, (1, 2), [
            Peer("lua", "lua5.4", lua_peer, faster(1.6, "lua5.4")),
        ], (10000, 50000)),
        Workload("combined_parse", "the same, two workers parse, one counts", "combined_parse.lua", [], "combined",
                 *combined_size, (1, 2), [
            Peer("lua", "lua5.4", lua_peer, None),
        ], (10000, 50000)),
        Workload("rendezvous", "task to task, unbuffered", "rendezvous.lua", ["{n}"], None, 1000000, 50000, (1, 2), [
            Peer("go", "Go", [go("rendezvous"), "{n}"], within(3, "Go")),
        ], (20000, 100000)),
        Workload("between", "worker to worker, unbuffered", "between.lua", ["{n}", "0"], None, 500000, 20000, (1, 2), [
            Peer("go", "Go", [go("between"), "{n}", "0"], within(5, "Go")),
        ], None),
        Workload("between_1024", "worker to worker, channel of 1024", "between.lua", ["{n}", "1024"], None, 2000000,
                 50000, (1, 2), [
            Peer("go", "Go", [go("between"), "{n}", "1024"], within(5, "Go")),
        ], None),
        Workload("select_four", "select over four unbuffered channels", "select_four.lua", ["{n}"], None, 500000, 20000,
                 (1, 2), [
            Peer("go", "Go", [go("select_four"), "{n}"], None),
        ], (20000, 100000)),
        Workload("primes", "sieve of 500 primes", "primes.lua", ["{n}"], None, 500, 100, (1, 2), [
            Peer("go", "Go", [go("primes"), "{n}"], None),
        ], None),
        Workload("waiting", "tasks that wait on one channel and are let go", "waiting.lua", ["{n}"], None, 1000000, 20000,
                 (1, 2), [
            Peer("go", "Go", [go("waiting"), "{n}"], None),
        ], None),
        Workload("limiter", "a limiter's decisions, granted", "limiter.lua", ["{n}", "granted"], None, 5000000, 200000,
                 (1,), [
            Peer("go", "Go, a mutex", [go("limiter"), "{n}", "granted"], None),
        ], (20000, 100000)),
        Workload("limiter_refused", "a limiter's decisions, refused", "limiter.lua", ["{n}", "refused"], None, 5000000,
                 200000, (1,), [
            Peer("go", "Go, a mutex", [go("limiter"), "{n}", "refused"], None),
        ], (20000, 100000)),
        Workload("limiter_two", "two workers on one limiter", "limiter_two.lua", ["{n}"], None, 5000000, 200000, (1, 2), [
            Peer("go", "Go, a mutex", [go("limiter"), "{n}", "granted", "2"], None),
        ], None),
        Workload("startup", "start-up: a script that prints one line", "startup.lua", [], None, 1, 1, (2,), [
            Peer("lua", "lua5.4", ["lua5.4", file("startup.lua")], None),
            Peer("jq", "jq", ["jq", "-n", "1"], None),
            Peer("python", "python3", [python, file("startup.py")], None),
            Peer("go", "Go", [go("startup")], None),
        ], None),
    ]


# Start-up is held against a figure, not against a peer.
STARTUP_SECONDS = 0.005
