"""Drops the small responses of an access log, gives each other one a field: the peer of json_edit.lua, with orjson."""
import sys

import orjson


def main():
    loads, dumps, write = orjson.loads, orjson.dumps, sys.stdout.buffer.write
    for line in sys.stdin.buffer:
        event = loads(line)
        if event["bytes"] >= 18000:
            event["class"] = "error" if event["status"] >= 400 else "ok"
            write(dumps(event, option=orjson.OPT_APPEND_NEWLINE))


main()
