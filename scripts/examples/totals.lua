-- What was paid in each currency, where payments may arrive more than once. Shows a stage that remembers: `seen` is its
-- worker's own copy, which lives as long as the pipeline.
--   streamhost run totals.lua < payments.jsonl
local stream = require "stream"

local seen = {}

stream.from(stream.stdin { format = "json" })
  :filter("first", function(payment)
    if seen[payment.id] then return false end
    seen[payment.id] = true
    return true
  end)
  :reduce("total", {}, function(totals, payment)
    totals[payment.currency] = (totals[payment.currency] or 0) + payment.cents
    return totals
  end)
  :to(stream.stdout { format = "json" })
