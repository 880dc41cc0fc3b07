// The peer of limiter.lua and limiter_two.lua: a token bucket behind a mutex, as golang.org/x/time/rate is one, with the
// same semantics. `limiter [N [GOROUTINES]]`.
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
	n, routines := argument(1, 5000000), argument(2, 1)
	for _, c := range []struct {
		name        string
		rate, burst float64
	}{{"granted", 1e9, 1000000}, {"refused", 1e-6, 1}} {
		b := &bucket{rate: c.rate, burst: c.burst, tokens: c.burst, last: time.Now()}
		granted := make([]int, routines)
		began := time.Now()
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
		seconds := time.Since(began).Seconds()
		total := 0
		for _, count := range granted {
			total += count
		}
		fmt.Printf("%s\t%.1f ns\t%d of %d\n", c.name, seconds/float64(n)*1e9, total, n)
	}
}
