// Names of other libraries and values of the wrong kind: the message says what there is instead.
import Foundation
import Testing

@Suite struct MisspellingTests {
    @Test(
        arguments: [
            // a name that begins as one that is there, or ends as one
            ("stream.channel(1)", "unknown function of stream: 'channel' (did you mean 'chan'?)"),
            (
                "stream.from(stream.range(1, 2)):forEach(print)",
                "unknown method of a pipeline: 'forEach' (did you mean 'each'?)"
            ),
            (
                "stream.from(stream.range(1, 2)):buffer { cap = 3 }",
                "unknown option of :buffer: 'cap' (did you mean 'capacity'?)"
            ),
            ("stream.log.warning('x')", "unknown function of stream.log: 'warning' (did you mean 'warn'?)"),
            // none is near: all there are
            ("stream.json.parse('1')", "unknown function of stream.json: 'parse' (there is: decode, encode)"),
            ("stream.concurrency { max = 3 }", "unknown option of concurrency: 'max' (there is: keys, limit, name)"),
            (
                "stream.token_bucket { rate = 3, bounds = { 1, 9 }, out_of_bounds = 'rejects' }",
                "unknown out_of_bounds of token_bucket: 'rejects' (did you mean 'reject'?)"
            ),
            // options in the wrong table
            (
                "stream.from(stream.range(1, 2)):limit { rate = 3, mode = 'drop' }",
                "mode of limit goes into a second table: :limit({ rate = 100 }, { mode = ... })"
            ),
            (
                "stream.from(stream.range(1, 2)):limit { rate = 3, key = 'id' }",
                "key of limit goes into a second table: :limit({ rate = 100 }, { key = ... })"
            ),
            (
                "stream.from(stream.range(1, 2)):map(print, { retries = 3 })",
                "unknown option of stage \"map\": 'retries' (did you mean on_error = { retry = 3 }?)"
            ),
            (
                "stream.from(stream.range(1, 2)):map(print, { backof = 1 })",
                "unknown option of stage \"map\": 'backof' (did you mean on_error = { retry = 3, backoff = \"100ms\" }?)"
            ),
            (
                "stream.from(stream.range(1, 2)):map(print, { worker = 3 })",
                "unknown option of stage \"map\": 'worker' (did you mean 'workers'?)"
            ),
            // a string is told from a number, and from the text around it
            ("stream.chan('3')", "a capacity, a whole number from 0, got \"3\""),
            ("stream.sleep('5 s')", "\"1h\", got \"5 s\""),
            (
                "stream.chan(1):send(1, 'closed')",
                "argument 2 of send expected a duration: seconds (0.8) or text such as"
            ),
            ("stream.select { 'x' }", "case 1 of select expected a table (false disables a case), got \"x\""),
            // from a function of Lua's own, too, the script's line is named
            ("for v in ipairs(stream.chan(1)) do end", "a channel has no field of type number"),
            // what the library itself builds out of tables is named as what it is
            ("stream.chan(1):send((stream.pipe()))", "cannot send value: a reader stays in the worker that made it"),
            ("stream.chan(1):send { a = { (stream.pipe()) } }", "cannot send value.a[1]: a reader stays in the worker"),
            ("stream.chan(1):send(stream.worker('w', print))", "cannot send value: a worker stays in the worker"),
            (
                "stream.chan(1):send(stream.from(stream.range(1, 2)))",
                "cannot send value: a pipeline stays in the worker"
            ),
        ] as [(String, String)])
    func mistake_namesTheRemedy(_ line: String, _ says: String) throws {
        let outcome = try CommandLine.run("local stream = require 'stream'\n" + line)
        #expect(outcome.status != 0)
        #expect(outcome.errors.contains(says), "\(outcome.errors)")
        #expect(outcome.errors.contains("script.lua:2: "), "\(outcome.errors)")
    }

    @Test func tableWithAMetatableOfTheScript_isSentAsBefore() throws {
        let outcome = try CommandLine.run(
            """
            local stream = require 'stream'
            local c = stream.chan(1)
            c:send(setmetatable({ 5 }, { __index = { x = 1 } }))
            local got = c:recv()
            print(got[1], got.x, getmetatable(got))
            """)
        #expect(outcome.output == "5\tnil\tnil\n", "\(outcome.errors)")
    }
}
