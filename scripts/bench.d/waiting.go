// n goroutines that wait on one channel, and are then let go by its close. The peer of waiting.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

func main() {
	n := 100000
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.Atoi(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "usage: waiting [N]")
			os.Exit(2)
		}
	}
	gate := make(chan int)
	var done atomic.Int64
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			<-gate
			done.Add(1)
			all.Done()
		}()
	}
	close(gate)
	all.Wait()
	fmt.Println(done.Load())
}
