"""The failed requests of an access log in JSON lines: the peer of json_filter.lua, with orjson."""
import sys

import orjson


def main():
    loads, write = orjson.loads, sys.stdout.buffer.write
    for line in sys.stdin.buffer:
        if loads(line)["status"] >= 400:
            write(line)


main()
