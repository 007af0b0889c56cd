// A remembered conversation over native gRPC, with the client generated into gen/go.
//
//	SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	modelv1 "somamesh/contracts/soma/model/v1"
	orchestratorv1 "somamesh/contracts/soma/orchestrator/v1"
)

const turn = time.Minute

func main() {
	if err := converse(); err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

// converse sends a message, streams the answer, and asks again in the same conversation.
func converse() error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	chat := orchestratorv1.NewChatServiceClient(connection)
	conversation := fmt.Sprintf("example-%x", time.Now().UnixNano())
	for _, text := range []string{"My cat is called Ada.", "What is my cat called?"} {
		fmt.Println(">", text)
		if err := say(chat, conversation, text); err != nil {
			return err
		}
	}
	return nil
}

func say(chat orchestratorv1.ChatServiceClient, conversation, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), turn)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("SOMA_API_KEY"))
	stream, err := chat.Chat(ctx, &orchestratorv1.ChatRequest{
		ConversationId: conversation,
		Messages:       []*modelv1.Message{{Role: modelv1.Role_ROLE_USER, Content: text}},
	})
	if err != nil {
		return err
	}
	finished := false
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch payload := event.GetPayload().(type) {
		case *orchestratorv1.ChatResponse_Delta:
			fmt.Print(payload.Delta.GetText())
		case *orchestratorv1.ChatResponse_Finished:
			finished = true
			fmt.Printf("\n  (%d tokens)\n\n", payload.Finished.GetUsage().GetTotalTokens())
		}
	}
	if !finished {
		return errors.New("the answer was cut short")
	}
	return nil
}

// connect opens a channel to SOMA_API_URL: plain for http, with TLS for https.
func connect() (*grpc.ClientConn, error) {
	address := os.Getenv("SOMA_API_URL")
	if address == "" {
		address = "http://127.0.0.1:8080"
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	secured := insecure.NewCredentials()
	if parsed.Scheme == "https" {
		secured = credentials.NewTLS(nil)
	}
	return grpc.NewClient(parsed.Host, grpc.WithTransportCredentials(secured))
}

// explain gives the reason and the message of an error: programs act on the reason, people read the message.
func explain(err error) string {
	failure := status.Convert(err)
	for _, detail := range failure.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason() + ": " + failure.Message()
		}
	}
	return err.Error()
}
