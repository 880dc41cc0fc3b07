"""Prints one line: the peer of startup.lua."""
print(1)
