// The peer of limiter.lua and limiter_two.lua: a token bucket behind a mutex, as golang.org/x/time/rate is one, with the
// same semantics: `limiter [N ["granted" | "refused" [GOROUTINES]]]`.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

type bucket struct {
	mutex       sync.Mutex
	rate, burst float64
	tokens      float64
	last        time.Time
}

func (b *bucket) allow() bool {
	now := time.Now()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if now.After(b.last) {
		b.tokens += now.Sub(b.last).Seconds() * b.rate
		if b.tokens > b.burst {
			b.tokens = b.burst
		}
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func argument(index, otherwise int) int {
	if len(os.Args) > index {
		if n, err := strconv.Atoi(os.Args[index]); err == nil {
			return n
		}
	}
	return otherwise
}

func main() {
	n, routines := argument(1, 5000000), argument(3, 1)
	b := &bucket{rate: 1e9, burst: 1000000}
	if len(os.Args) > 2 && os.Args[2] == "refused" {
		b = &bucket{rate: 1e-6, burst: 1}
	}
	b.tokens, b.last = b.burst, time.Now()
	granted := make([]int, routines)
	var group sync.WaitGroup
	for r := 0; r < routines; r++ {
		group.Add(1)
		go func(r int) {
			defer group.Done()
			count := 0
			for i := 0; i < n/routines; i++ {
				if b.allow() {
					count++
				}
			}
			granted[r] = count
		}(r)
	}
	group.Wait()
	total := 0
	for _, count := range granted {
		total += count
	}
	fmt.Println(total)
}
