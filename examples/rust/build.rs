//! Generates the client from the contracts with Rust only: no `protoc` is needed.

const PROTO: &str = "../../proto";
const THIRD_PARTY: &str = "../../third_party";
const CHAT: &str = "soma/orchestrator/v1/chat_service.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    println!("cargo::rerun-if-changed={THIRD_PARTY}");
    let contracts = protox::compile([CHAT], [PROTO, THIRD_PARTY])?;
    tonic_prost_build::configure()
        .build_server(false)
        // One file with a module for each package, nested like the names of the packages.
        .include_file("contracts.rs")
        .compile_fds(contracts)?;
    Ok(())
}
