// The script in which an attack runs, and that of its twin.

/// Figures of the corpus, small so that it is quick: what is measured is the time beyond a limit.
package enum Bounds {
    package static let timeout = 0.02, cpu = 0.02
    package static let memory = "4MB", output = "256KB"
    /// From a cancellation until a stage that computes is stopped: two grace periods (architecture.md, section 2).
    package static let graces = 0.2
    /// When the main worker cancels.
    package static let patience = 0.02
    /// A twin's memory: nothing of the corpus comes near it.
    package static let twinMemory = "2GB"
    /// What an attack on memory holds at most, many times `memory`: there it begins anew, so that the twin grows no further.
    package static let most = 32 << 20
}

extension Attack {
    /// Values go through a pipeline whose second stage is hostile, beside one that behaves: its source makes one value a
    /// millisecond, a stage of its own changes each, and main sees that all come, in order, and the widest pause between two.
    package var script: String {
        """
        local stream = require "stream"
        local print, over = print, stream.chan(0)
        \(hostileFunction)
        local bystander = stream.from(stream.generate(function(emit)
          local n = 0
          repeat
            n = n + 1
            emit(n)
            stream.sleep("1ms")
          until over:is_closed() and n >= 10
          emit(-n)
        end)):map("bystander", function(n) return { n = n, text = ("x"):upper():rep(2) } end)
        local count, missing, widest, last = 0, "nothing arrived", 0, stream.now()
        local others = bystander:to(function(value)
          local now = stream.now()
          widest, last = math.max(widest, now - last), now
          if value.n < 0 then missing = count == -value.n and "none" or count .. " of " .. -value.n
          elseif value.n == count + 1 and value.text == "XX" then count = value.n end
        end)
        stream.sleep("3ms")
        local hostile = \(chain(options: limits))
          :to(function(value) print("passed " .. tostring(value)) end)
        \(limit == .cancel ? "stream.sleep(\(Bounds.patience)) print \"cancelled\" hostile:cancel(\"enough\")" : "")
        print("ended", hostile:wait())
        local s = hostile:stats()
        local balanced = s.created
          == s.delivered + s.consumed + s.filtered + s.failed + s.dropped + s.dead_lettered + s.returned
        print("account", balanced and "balanced" or "not balanced", s.failed)
        over:close()
        print("others", others:wait())
        print("missing", missing)
        print("widest", ("%.6f"):format(widest))
        """
    }

    /// The same hostile function without its limit.
    package var twin: String {
        """
        local stream = require "stream"
        local print = print
        \(hostileFunction)
        local hostile = \(chain(options: "{ memory = \"\(Bounds.twinMemory)\", on_error = \"skip\" }")):to(stream.null_sink())
        print("ended", hostile:wait())
        """
    }

    private var hostileFunction: String {
        """
        local most = \(Bounds.most)
        \(before)
        local function act(value)
          \(body)
        end
        local function attack(value)
          print "inside"
          act(value)
          print "returned"
        end
        """
    }

    private var limits: String {
        switch limit {
        case .timeout: "{ timeout = \(Bounds.timeout), memory = \"\(memory)\", on_error = \"skip\" }"
        case .memory: "{ memory = \"\(Bounds.memory)\", on_error = \"skip\" }"
        case .cpu: "{ cpu = \(Bounds.cpu), memory = \"\(memory)\", on_error = \"skip\" }"
        case .output: "{ max_output = \"\(Bounds.output)\", memory = \"\(memory)\", on_error = \"skip\" }"
        case .cancel, .refusal: "{ memory = \"\(memory)\", on_error = \"skip\" }"
        }
    }

    private func chain(options: String) -> String {
        switch place {
        case .map:
            """
            stream.from(stream.values { 1, 2, 3 }):map("hostile", function(value)
              if value == 2 then attack(value) end
              return value
            end, \(options))
            """
        case .chain(let text, _):
            text.split(separator: "OPTIONS", omittingEmptySubsequences: false).joined(separator: options)
        }
    }
}
