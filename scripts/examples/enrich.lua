-- Orders completed from a table of products. Shows that what the top level has read is there in the stage: every worker
-- starts with a copy of `products`.
--   streamhost run enrich.lua products.jsonl < orders.jsonl
local stream = require "stream"

local products = {}
for _, product in ipairs(assert(stream.from(stream.file { path = arg[1], format = "json" }):collect())) do
  products[product.sku] = product
end

stream.from(stream.stdin { format = "json" })
  :map("enrich", function(order)
    local product = products[order.sku]
    if product then
      order.title = product.title
      order.total = product.price * order.quantity
    end
    return order
  end)
  :to(stream.stdout { format = "json" })
