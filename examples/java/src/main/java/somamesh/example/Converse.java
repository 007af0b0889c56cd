package somamesh.example;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.net.URI;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import soma.model.v1.MessageOuterClass.Message;
import soma.model.v1.MessageOuterClass.Role;
import soma.orchestrator.v1.ChatServiceGrpc;
import soma.orchestrator.v1.ChatServiceGrpc.ChatServiceBlockingStub;
import soma.orchestrator.v1.ChatServiceOuterClass.ChatRequest;
import soma.orchestrator.v1.ChatServiceOuterClass.ChatResponse;

/**
 * A remembered conversation over native gRPC, with a client generated from the contracts.
 *
 * <p>SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… mvn -q compile exec:java
 */
public final class Converse {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final ChatServiceBlockingStub chat;
  private final String conversation = "example-" + UUID.randomUUID();

  private Converse(ChatServiceBlockingStub chat) {
    this.chat = chat;
  }

  public static void main(String[] arguments) throws InterruptedException {
    ManagedChannel channel = connect(System.getenv().getOrDefault("SOMA_API_URL", "http://127.0.0.1:8080"));
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + System.getenv("SOMA_API_KEY"));
    Converse converse =
        new Converse(
            ChatServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers)));
    try {
      for (String text : List.of("My cat is called Ada.", "What is my cat called?")) {
        converse.say(text);
      }
    } catch (StatusRuntimeException error) {
      System.err.println(explain(error));
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** Sends a message and prints the answer as it arrives. */
  private void say(String text) {
    System.out.println("> " + text);
    ChatRequest request =
        ChatRequest.newBuilder()
            .setConversationId(conversation)
            .addMessages(Message.newBuilder().setRole(Role.ROLE_USER).setContent(text))
            .build();
    Iterator<ChatResponse> events = chat.withDeadlineAfter(60, TimeUnit.SECONDS).chat(request);
    boolean finished = false;
    while (events.hasNext()) {
      ChatResponse event = events.next();
      switch (event.getPayloadCase()) {
        case DELTA -> {
          System.out.print(event.getDelta().getText());
          System.out.flush();
        }
        case FINISHED -> {
          finished = true;
          System.out.printf("%n  (%d tokens)%n%n", event.getFinished().getUsage().getTotalTokens());
        }
        default -> {}
      }
    }
    if (!finished) {
      throw new IllegalStateException("the answer was cut short");
    }
  }

  /** Opens a channel: plain for http, with TLS for https. */
  private static ManagedChannel connect(String url) {
    URI uri = URI.create(url);
    boolean secured = "https".equals(uri.getScheme());
    int port = uri.getPort() != -1 ? uri.getPort() : secured ? 443 : 80;
    return Grpc.newChannelBuilderForAddress(
            uri.getHost(), port, secured ? TlsChannelCredentials.create() : InsecureChannelCredentials.create())
        .build();
  }

  /** The reason of an error: programs act on the reason, people read the message. */
  private static String explain(StatusRuntimeException error) {
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    if (status != null) {
      for (com.google.protobuf.Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          try {
            return detail.unpack(ErrorInfo.class).getReason() + ": " + status.getMessage();
          } catch (InvalidProtocolBufferException malformed) {
            return error.getMessage();
          }
        }
      }
    }
    return error.getMessage();
  }
}
