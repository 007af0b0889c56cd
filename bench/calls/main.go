// Loads an EchoService over native gRPC and checks every answer. It needs a third of the processor time that a Python
// server needs for the same calls, so the server is the limit. The last line that it prints is JSON.
//
//	calls unary ADDRESS KEY CHANNELS CALLERS SECONDS
//	calls chat ADDRESS KEY CHANNELS STREAMS SECONDS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	testingv1 "somamesh/contracts/soma/testing/v1"
)

const (
	messageBytes = 100
	patience     = 30 * time.Second
)

// Result has the number of right answers, and how long one took.
type Result struct {
	Answers  int     `json:"answers"`
	Seconds  float64 `json:"seconds"`
	MedianMs float64 `json:"median_ms"`
	P99Ms    float64 `json:"p99_ms"`
}

// caller calls until `end` and returns the duration of each answer; the first wrong answer is an error.
type caller func(ctx context.Context, client testingv1.EchoServiceClient, end time.Time) ([]time.Duration, error)

func main() {
	if len(os.Args) != 7 {
		fail(fmt.Errorf("calls unary|chat ADDRESS KEY CHANNELS CALLERS SECONDS"))
	}
	kinds := map[string]caller{"unary": unary, "chat": chat}
	numbers := make([]int, 0, 3)
	for _, text := range os.Args[4:] {
		number, err := strconv.Atoi(text)
		fail(err)
		numbers = append(numbers, number)
	}
	result, err := load(kinds[os.Args[1]], os.Args[2], os.Args[3], numbers[0], numbers[1], numbers[2])
	fail(err)
	fail(json.NewEncoder(os.Stdout).Encode(result))
}

// load spreads callers over channels, runs them for some seconds, and combines their results.
func load(call caller, address, key string, channels, callers, seconds int) (Result, error) {
	length := time.Duration(seconds) * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), length+patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	clients := make([]testingv1.EchoServiceClient, channels)
	for index := range clients {
		channel, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return Result{}, err
		}
		defer channel.Close()
		clients[index] = testingv1.NewEchoServiceClient(channel)
		if _, err := clients[index].Echo(ctx, &testingv1.EchoRequest{Text: "are you there"}); err != nil {
			return Result{}, err
		}
	}
	found := make([][]time.Duration, callers)
	failures := make([]error, callers)
	var calling sync.WaitGroup
	began := time.Now()
	for index := range callers {
		calling.Go(func() {
			found[index], failures[index] = call(ctx, clients[index%channels], began.Add(length))
		})
	}
	calling.Wait()
	took := time.Since(began)
	var all []time.Duration
	for index := range callers {
		if failures[index] != nil {
			return Result{}, failures[index]
		}
		all = append(all, found[index]...)
	}
	if len(all) == 0 {
		return Result{}, fmt.Errorf("nobody answered")
	}
	sort.Slice(all, func(one, other int) bool { return all[one] < all[other] })
	at := func(share float64) float64 { return all[int(share*float64(len(all)-1))].Seconds() * 1000 }
	return Result{Answers: len(all), Seconds: took.Seconds(), MedianMs: at(0.5), P99Ms: at(0.99)}, nil
}

// unary calls Echo again after each answer.
func unary(ctx context.Context, client testingv1.EchoServiceClient, end time.Time) ([]time.Duration, error) {
	var took []time.Duration
	for number := 0; ; number++ {
		began := time.Now()
		if began.After(end) {
			return took, nil
		}
		text := message(number)
		answer, err := client.Echo(ctx, &testingv1.EchoRequest{Text: text})
		if err != nil {
			return nil, err
		}
		if answer.GetText() != text {
			return nil, fmt.Errorf("call %d was answered with %q", number, answer.GetText())
		}
		took = append(took, time.Since(began))
	}
}

// chat writes messages to one stream while it reads their echoes, as far ahead as flow control permits.
func chat(ctx context.Context, client testingv1.EchoServiceClient, end time.Time) ([]time.Duration, error) {
	stream, err := client.ChatEchoes(ctx)
	if err != nil {
		return nil, err
	}
	const ahead = 256
	sent := make(chan time.Time, ahead)
	go func() {
		defer close(sent)
		for number := 0; time.Now().Before(end); number++ {
			sent <- time.Now()
			if stream.Send(&testingv1.ChatEchoesRequest{Text: message(number)}) != nil {
				return // the reader gets the error
			}
		}
		_ = stream.CloseSend()
	}()
	var took []time.Duration
	for began := range sent {
		echo, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if number := len(took); int(echo.GetSequence()) != number || echo.GetText() != message(number) {
			return nil, fmt.Errorf("message %d came back as %d: %q", number, echo.GetSequence(), echo.GetText())
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// message is a text of messageBytes bytes; each message of a caller is different.
func message(number int) string {
	text := strconv.Itoa(number)
	return text + strings.Repeat(".", messageBytes-len(text))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
