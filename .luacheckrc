std = "lua54"
max_line_length = 120

-- Declarations for editors: empty bodies, so every argument is unused.
files["**/meta/*.lua"] = { ignore = { "2" } }
