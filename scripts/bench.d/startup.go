// Prints one line: the peer of startup.lua.
package main

import "fmt"

func main() { fmt.Println(1) }
