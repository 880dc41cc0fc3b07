-- Payments from standard input, a JSON object a line, with their amounts in cents. What cannot be read or has no amount
-- goes to a file, with the reason: dead_letters.lua [FILE]
local stream = require "stream"

local letters = stream.file { path = arg[1] or "dead_letters.json", format = "json" }

stream.from(stream.stdin { format = "json" }, { on_error = { to = letters } })
  :map("cents", function(payment)
    local units, cents = tostring(payment.amount):match "^(%d+)%.(%d%d)$"
    if not units then error(("amount expected a number such as 12.50, got %s"):format(payment.amount)) end
    payment.cents = tonumber(units .. cents)
    return payment
  end)
  :to(stream.stdout { format = "json" })
