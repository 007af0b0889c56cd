//! A remembered conversation over native gRPC, with a client generated from the contracts.
//!
//! SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… cargo run

use std::env;
use std::io::{self, Write};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

#[allow(dead_code)]
mod contracts {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

use contracts::soma::model::v1::{Message, Role};
use contracts::soma::orchestrator::v1::ChatRequest;
use contracts::soma::orchestrator::v1::chat_response::Payload;
use contracts::soma::orchestrator::v1::chat_service_client::ChatServiceClient;

const TURN: Duration = Duration::from_secs(60);

/// Adds the API key to every call.
#[derive(Clone)]
struct Key(MetadataValue<Ascii>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if let Err(error) = converse().await {
        eprintln!("{error}");
        process::exit(1);
    }
}

/// Sends a message, streams the answer, and asks again in the same conversation.
async fn converse() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("SOMA_API_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".into());
    let key = env::var("SOMA_API_KEY").map_err(|_| "SOMA_API_KEY is not set")?;
    let conversation = format!(
        "example-{:x}",
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()
    );
    let channel = Endpoint::from_shared(url)?
        .connect_timeout(Duration::from_secs(5))
        .connect()
        .await?;
    let mut chat =
        ChatServiceClient::with_interceptor(channel, Key(format!("Bearer {key}").parse()?));
    for text in ["My cat is called Ada.", "What is my cat called?"] {
        println!("> {text}");
        let mut request = Request::new(ChatRequest {
            conversation_id: conversation.clone(),
            messages: vec![Message {
                role: Role::User.into(),
                content: text.into(),
                ..Default::default()
            }],
            ..Default::default()
        });
        request.set_timeout(TURN);
        let mut events = chat.chat(request).await?.into_inner();
        let mut finished = false;
        while let Some(event) = events.message().await? {
            match event.payload {
                Some(Payload::Delta(delta)) => {
                    print!("{}", delta.text);
                    io::stdout().flush()?;
                }
                Some(Payload::Finished(end)) => {
                    finished = true;
                    println!(
                        "\n  ({} tokens)\n",
                        end.usage.unwrap_or_default().total_tokens
                    );
                }
                _ => {}
            }
        }
        if !finished {
            return Err("the answer was cut short".into());
        }
    }
    Ok(())
}
