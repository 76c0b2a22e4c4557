//! Makes a client of the server API from its `.proto` file, as an application would.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = "../../crates/server/proto";
    println!("cargo::rerun-if-changed={folder}");
    // Without `protoc`, which not every machine has.
    let set = protox::compile(["api.proto"], [folder])?;
    tonic_prost_build::configure().build_server(false).compile_fds(set)?;
    Ok(())
}
