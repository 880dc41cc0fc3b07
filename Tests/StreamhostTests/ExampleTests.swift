// Every script of scripts/examples: its whole output against one that the test computes from the same data.
import Foundation
import Testing

@Suite struct ExampleTests {
    @Test(arguments: [([], 10), (["1"], 1), (["0"], 0), (["2001"], 2001)] as [([String], Int)])
    func even(_ arguments: [String], _ last: Int) throws {
        try ExampleRun("even.lua", arguments).expect(stride(from: 2, through: last, by: 2).map(String.init))
    }

    @Test func failed() throws {
        var random = SeededGenerator(seed: 1)
        var lines: [String] = [], kept: [String] = []
        for _ in 1...3000 {
            let request = Request.random(&random)
            // Spelt in ways that only the bytes themselves keep.
            let line =
                random.oneIn(2)
                ? request.json
                : #"{ "status" : \#(request.status), "ms": \#(request.milliseconds).50, "p\u0061th": "\#(request.path)" }"#
            lines.append(line)
            if request.status >= 400 { kept.append(line) }
        }
        try ExampleRun("failed.lua", input: lines).expect(kept)
    }

    @Test func failed_withABrokenLine_goesOn() throws {
        let run = try ExampleRun("failed.lua", input: [#"{"status":404}"#, #"{"status":4"#, #"{"status":500}"#])
        #expect(run.outcome.output == "{\"status\":404}\n{\"status\":500}\n")
        #expect(run.outcome.errors.hasPrefix("streamhost: skipped: "))
        #expect(run.outcome.errors.split(separator: "\n").count == 1)
        #expect(run.outcome.status == 0)
    }

    @Test func busiest() throws {
        var random = SeededGenerator(seed: 3)
        var lines: [String] = [], statuses: [String: Int] = [:], paths: [String: Int] = [:]
        for second in 1...4000 {
            // Few requests of many paths, so that some are equally busy at the tenth place.
            let path = "/page/\(min(random.number(1...60), random.number(1...60)))"
            let status = random.pick(["200", "200", "200", "304", "404", "500"])
            let address = (1...4).map { _ in String(random.number(1...254)) }.joined(separator: ".")
            var request = random.pick(["GET", "POST"]) + " " + path + random.pick(["", "?q=1&s=2"]) + " HTTP/1.1"
            var counted: String? = path
            switch random.number(1...50) {
            case 1: (request, counted) = ("-", "(none)")  // nothing that a client said
            case 2: counted = nil  // not a line of this format
            default: break
            }
            let head =
                "\(address) - \(random.pick(["-", "ann", "bob b"])) [10/Oct/2025:13:00:\(10 + second % 50) +0000]"
            let tail = #"\#(random.number(0...9999)) "https://example.org/" "curl/8.5.0 (x86_64) \"test\"""#
            lines.append(counted == nil ? "\(head) \(tail)" : "\(head) \"\(request)\" \(status) \(tail)")
            guard let counted else { continue }
            statuses[status, default: 0] += 1
            paths[counted, default: 0] += 1
        }
        func show(_ entry: (key: String, value: Int)) -> String {
            String(repeating: " ", count: 8 - String(entry.value).count) + "\(entry.value) \(entry.key)"
        }
        let busiest = paths.sorted { $0.value > $1.value || ($0.value == $1.value && $0.key < $1.key) }
        #expect(paths.count > 10)
        try ExampleRun("busiest.lua", input: lines).expect(
            ["requests by status"] + statuses.sorted { $0.key < $1.key }.map(show)
                + ["busiest paths"] + busiest.prefix(10).map(show))
    }

    @Test func busiest_ofNothing() throws {
        try ExampleRun("busiest.lua").expect(["requests by status", "busiest paths"])
    }

    @Test func csvToJSON() throws {
        var random = SeededGenerator(seed: 4)
        var lines = ["city,code,price,remark"], expected: [String] = []
        for _ in 1...2000 {
            let city = random.pick(["Bern", "Genève", "Chêne-Bourg, GE", "\"Zug\""])
            let code = "0\(random.number(1000...9999))"
            let price = random.pick(["\(random.number(0...99999))", "\(random.number(0...999)).25", "unknown", ""])
            let remark = random.pick(["", "two\nlines", "a \"word\"", " spaces ", "tab\tand \\"])
            lines.append([city, code, price, remark].map(Self.csv).joined(separator: ","))
            let number = Double(price) == nil ? Self.json(price) : price
            expected.append(
                #"{"city":\#(Self.json(city)),"code":"\#(code)","price":\#(number),"remark":\#(Self.json(remark))}"#)
        }
        try ExampleRun("csv_to_json.lua", ["price"], input: lines).expect(expected)
    }

    /// RFC 4180: in quotes where it must be, and a quote twice.
    private static func csv(_ field: String) -> String {
        field.contains { "\",\n".contains($0) } ? "\"" + field.replacing("\"", with: "\"\"") + "\"" : field
    }

    private static func json(_ text: String) -> String {
        var result = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        result = result.replacing("\n", with: "\\n").replacing("\t", with: "\\t")
        return "\"" + result + "\""
    }

    @Test func dead_letters() throws {
        var random = SeededGenerator(seed: 9)
        var lines: [String] = [], passed: [String] = [], bad: [String: String] = [:]
        for id in 1...500 {
            let cents = random.number(0...100_000), amount = "\(cents / 100).\(cents % 100 / 10)\(cents % 10)"
            let head = #"{"id":\#(id),"amount":"#
            switch random.number(1...10) {
            case 1:
                lines.append(head + "\"\(amount)")  // no JSON
                bad[lines.last!] = "not JSON"
            case 2:
                lines.append(head + #""a lot"}"#)
                bad["\(id)"] = "amount expected a number such as 12.50, got a lot"
            case 3:
                lines.append(head + "\(amount)5}")  // half a cent
                bad["\(id)"] = "amount expected a number such as 12.50, got \(cents / 100)."
            case 4...6:
                lines.append(head + "\(amount)}")
                passed.append(head + "\(amount),\"cents\":\(cents)}")
            default:
                lines.append(head + "\"\(amount)\"}")
                passed.append(head + "\"\(amount)\",\"cents\":\(cents)}")
            }
        }
        let run = try ExampleRun("dead_letters.lua", ["letters.json"], input: lines)
        run.expect(passed)
        for line in try run.file("letters.json").split(separator: "\n") {
            let letter = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            let payment = letter["value"] as? [String: Any]
            let value = (payment?["id"] as? Int).map(String.init) ?? letter["value"] as? String ?? ""
            let error = bad.removeValue(forKey: value)
            #expect(error != nil && (letter["error"] as? String ?? "").contains(error!), "\(line)")
            #expect(letter["stage"] as? String == (payment == nil ? "source" : "cents"))
        }
        #expect(bad.isEmpty)
    }

    @Test func totals() throws {
        var random = SeededGenerator(seed: 5)
        var lines: [String] = [], totals: [String: Int] = [:], sent: [String] = []
        for id in 1...3000 {
            let currency = random.pick(["CHF", "EUR", "JPY", "USD"]), cents = random.number(-500...100_000)
            totals[currency, default: 0] += cents
            let line = #"{"id":"p-\#(id)","currency":"\#(currency)","cents":\#(cents)}"#
            sent.append(line)
            lines.append(line)
            // Some come again, now or much later.
            while random.oneIn(4) { lines.append(random.pick(sent)) }
        }
        #expect(lines.count > 3500)
        let fields = totals.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
        try ExampleRun("totals.lua", input: lines).expect(["{" + fields.joined(separator: ",") + "}"])
    }

    @Test func enrich() throws {
        var random = SeededGenerator(seed: 6)
        let titles = (1...50).map { "Product \"\($0)\" é" }
        let prices = (1...50).map { _ in random.number(1...100_000) }
        let products = (0..<50).map { #"{"sku":"s\#($0)","title":\#(Self.json(titles[$0])),"price":\#(prices[$0])}"# }
        var lines: [String] = [], expected: [String] = []
        for id in 1...2000 {
            let sku = random.number(0...54), quantity = random.number(1...9)
            let order = #""id":\#(id),"quantity":\#(quantity),"sku":"s\#(sku)""#
            lines.append("{\(order)}")
            let added = sku < 50 ? #","title":\#(Self.json(titles[sku])),"total":\#(prices[sku] * quantity)"# : ""
            expected.append("{\(order)\(added)}")
        }
        try ExampleRun("enrich.lua", ["products.jsonl"], input: lines, files: ["products.jsonl": products])
            .expect(expected)
    }

    @Test func enrich_withoutItsTable_saysWhatIsMissing() throws {
        let run = try ExampleRun("enrich.lua", ["products.jsonl"])
        #expect(run.outcome.output == "")
        #expect(run.outcome.errors.contains("products.jsonl"))
        #expect(run.outcome.status == 1)
    }

    @Test func balances() throws {
        var random = SeededGenerator(seed: 7)
        var lines: [String] = [], expected: [String] = [], balances: [Int: Int] = [:]
        for _ in 1...5000 {
            let account = random.number(1...40), cents = random.number(-10000...10000)
            balances[account, default: 0] += cents
            let booking = #""account":"a\#(account)","cents":\#(cents)"#
            lines.append("{\(booking)}")
            expected.append(#"{\#(booking),"result":\#(balances[account]!)}"#)
        }
        try ExampleRun("balances.lua", input: lines).expect(expected)
    }

    @Test func routes() throws {
        var random = SeededGenerator(seed: 8)
        var rest: [String] = [], failures: [String] = [], slow: [String: Int] = [:]
        let requests = (1...3000).map { _ in Request.random(&random) }
        for request in requests {
            if request.status >= 500 {
                failures.append("\(request.status) \(request.path)")
            } else if request.milliseconds > 1000 {
                slow[request.path, default: 0] += 1
            } else {
                rest.append(request.json)
            }
        }
        let run = try ExampleRun("routes.lua", ["failures.txt", "slow.json"], input: requests.map(\.json))
        run.expect(rest)
        #expect(try run.file("failures.txt") == ExampleRun.text(failures))
        // Sorted by bytes, as the fields of a table are written.
        let fields = slow.sorted { Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8)) }
        #expect(
            try run.file("slow.json")
                == "{" + fields.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}\n")
    }

    /// A new example comes with a test.
    @Test func everyExample_isTested() throws {
        let tested = [
            "balances", "busiest", "csv_to_json", "dead_letters", "degrade", "enrich", "even", "failed", "fan_out",
            "first_seen", "pool", "rate_change", "routes", "shed", "sieve", "totals",
        ]
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../scripts/examples")
        let found = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
            $0.hasSuffix(".lua") && !$0.hasSuffix("_test.lua")
        }
        #expect(found.sorted() == tested.map { $0 + ".lua" })
    }
}
