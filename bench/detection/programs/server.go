// An HTTP server that starts, and asks itself for SECONDS, 50 requests at a time, each of which
// reads a file: calls that block take a thread of their own.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const atOnce = 50

func main() {
	seconds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		data, _ := os.ReadFile("/proc/self/smaps")
		fmt.Fprintln(answer, len(data))
	}))
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for time.Now().Before(end) {
		var asked sync.WaitGroup
		for i := 0; i < atOnce; i++ {
			asked.Add(1)
			go func() {
				defer asked.Done()
				answer, err := http.Get("http://" + listener.Addr().String())
				if err == nil {
					answer.Body.Close()
				}
			}()
		}
		asked.Wait()
		time.Sleep(100 * time.Millisecond)
	}
}
