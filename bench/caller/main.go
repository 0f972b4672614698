// Calls a webhook as the API server does: net/http, HTTP/1.1 over TLS, connections that are kept.
//
// Prints what each call took, in microseconds, as a JSON list; calls that failed are counted on standard error.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Placeholder is what every call replaces by an identifier of its own, as the API server gives one to each.
const placeholder = "00000000-0000-0000-0000-000000000000"

var (
	url         = flag.String("url", "", "what to call")
	ca          = flag.String("ca", "", "file with the CA of its certificate")
	review      = flag.String("review", "", "file with the body")
	connections = flag.Int("connections", 8, "how many connections make calls")
	rate        = flag.Float64("rate", 100, "calls a second, of all connections together")
	seconds     = flag.Float64("seconds", 10, "how long")
	fresh       = flag.Bool("fresh", false, "a new connection for every call")
	first       = flag.Int("first", 0, "number of the first call: two runs must not share an identifier")
)

func main() {
	flag.Parse()
	pem, err := os.ReadFile(*ca)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	body, err := os.ReadFile(*review)
	check(err)

	calls := int(*rate * *seconds)
	took := make([]int64, calls)
	var failed atomic.Int64
	var workers sync.WaitGroup
	began := time.Now().Add(50 * time.Millisecond)
	for worker := range *connections {
		workers.Add(1)
		go func() {
			defer workers.Done()
			client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "localhost"},
				MaxConnsPerHost:   1,
				DisableKeepAlives: *fresh,
			}}
			if !*fresh { // the handshake is measured by the runs with fresh connections
				check(call(client, body, *first+calls+worker))
			}
			for number := worker; number < calls; number += *connections {
				due := began.Add(time.Duration(float64(number) / *rate * float64(time.Second)))
				// A call that was kept waiting by the one before has waited since it was due.
				from := due
				if time.Now().Before(due) {
					time.Sleep(time.Until(due))
					from = time.Now()
				}
				if err := call(client, body, *first+number); err != nil {
					failed.Add(1)
					fmt.Fprintln(os.Stderr, err)
				}
				took[number] = time.Since(from).Microseconds()
			}
		}()
	}
	workers.Wait()
	if failed.Load() > 0 {
		fmt.Fprintln(os.Stderr, failed.Load(), "calls failed")
		os.Exit(1)
	}
	check(json.NewEncoder(os.Stdout).Encode(took))
}

func call(client *http.Client, body []byte, number int) error {
	identifier := fmt.Sprintf("%08x-0000-4000-8000-000000000000", number)
	mine := bytes.ReplaceAll(body, []byte(placeholder), []byte(identifier))
	reply, err := client.Post(*url, "application/json", bytes.NewReader(mine))
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	answer, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", reply.Status, answer)
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
