-- The balance of each account after each of its bookings, in four workers. Shows key, by which all bookings of an
-- account go to the same worker, so that its balance is in one place; ordered lets them leave in the order they came.
--   streamhost run balances.lua < bookings.jsonl
local stream = require "stream"

local balances = {}

stream.from(stream.stdin { format = "json" })
  :map("balance", function(booking)
    local account = booking.account
    balances[account] = (balances[account] or 0) + booking.cents
    booking.result = balances[account]
    return booking
  end, { workers = 4, key = "account", ordered = true })
  :to(stream.stdout { format = "json" })
