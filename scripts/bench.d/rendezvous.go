// Two goroutines and an unbuffered channel: each of 1..n is handed over. The peer of rendezvous.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	n := int64(100000)
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.ParseInt(os.Args[1], 10, 64); err != nil {
			fmt.Fprintln(os.Stderr, "usage: rendezvous [N]")
			os.Exit(2)
		}
	}
	channel := make(chan int64)
	go func() {
		for i := int64(1); i <= n; i++ {
			channel <- i
		}
		close(channel)
	}()
	var sum int64
	for v := range channel {
		sum += v
	}
	fmt.Println(sum)
}
