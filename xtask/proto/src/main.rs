//! Compiles the `.proto` files of a folder into Rust and a set of descriptors, in another folder.
//!
//! `spinward-proto FROM TO`. `cargo xtask proto` runs it.

use prost::Message;
use prost_types::FileDescriptorProto;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = &folders[..] else { return Err("usage: spinward-proto FROM TO".into()) };
    let mut names = std::fs::read_dir(from)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    names.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    names.sort();
    let set = protox::compile(&names, [from])?;
    // Comments are for those who read the code. Whoever asks a server for its schema gets the schema alone.
    let mut bare = set.clone();
    bare.file.iter_mut().for_each(|file| file.source_code_info = None);
    std::fs::write(to.join("descriptors.bin"), bare.encode_to_vec())?;
    for file in &set.file {
        code(file, to)?;
    }
    Ok(())
}

/// Writes the messages of one file, under the name of that file.
fn code(file: &FileDescriptorProto, to: &Path) -> Result<(), Box<dyn Error>> {
    let name = Path::new(file.name()).with_extension("rs");
    let mut config = prost_build::Config::new();
    config.bytes(["."]).btree_map(["."]);
    let module = prost_build::Module::from_protobuf_package_name(file.package());
    let code = config.generate(vec![(module.clone(), file.clone())])?.remove(&module).unwrap_or_default();
    Ok(std::fs::write(to.join(name), format!("// Made by `cargo xtask proto`.\n\n{code}"))?)
}
