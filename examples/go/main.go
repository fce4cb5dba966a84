// Streams one generation: go run . --prompt TEXT [--address HOST:PORT]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "bellhousing.example/gen/bellhousing/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:50051", "address of the server")
	prompt := flag.String("prompt", "The capital of France is", "text to continue")
	flag.Parse()
	if err := stream(*address, *prompt); err != nil {
		// Errors of the contract are google.rpc.Status: a code, a sentence, and details to act on.
		failure := status.Convert(err)
		fmt.Fprintf(os.Stderr, "\n%s: %s %v\n", failure.Code(), failure.Message(), failure.Details())
		os.Exit(1)
	}
}

func stream(address, prompt string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()

	// A deadline belongs to every call: the server ends the work when it passes, in the queue as well.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	limit, greedy := uint32(16), 0.0
	began := time.Now()
	call, err := pb.NewInferenceClient(connection).Generate(ctx, &pb.GenerateRequest{
		Prompt:   &pb.GenerateRequest_Text{Text: prompt},
		Sampling: &pb.Sampling{MaxTokens: &limit, Temperature: &greedy},
	})
	if err != nil {
		return err
	}
	var ttft time.Duration
	for {
		message, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if delta := message.GetDelta(); delta != nil {
			if ttft == 0 {
				ttft = time.Since(began)
			}
			fmt.Print(delta.GetText())
		}
		if finished := message.GetFinished(); finished != nil {
			fmt.Printf("\nTTFT %d ms, ended by %s\n", ttft.Milliseconds(), finished.GetSequences()[0].GetFinishReason())
		}
	}
}
