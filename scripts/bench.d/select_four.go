// Four goroutines that send on an unbuffered channel each, and one that selects over the four until it has n values. The
// peer of select_four.lua.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	n := 100000
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.Atoi(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "usage: select_four [N]")
			os.Exit(2)
		}
	}
	var channels [4]chan int
	for i := range channels {
		channels[i] = make(chan int)
		go func(channel chan int, value int) {
			for k := 0; k < n/4; k++ {
				channel <- value
			}
		}(channels[i], i+1)
	}
	sum := 0
	for k := 0; k < n/4*4; k++ {
		select {
		case v := <-channels[0]:
			sum += v
		case v := <-channels[1]:
			sum += v
		case v := <-channels[2]:
			sum += v
		case v := <-channels[3]:
			sum += v
		}
	}
	fmt.Println(sum)
}
