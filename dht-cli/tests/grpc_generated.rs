//! The committed code of the Chord service is what its `.proto` file says.
//!
//! Generated code is committed so that a build needs neither a compiler of protocol buffers
//! nor the crates that stand in for one. After a change of `proto/chord.proto`:
//!
//! ```text
//! WRITE_GENERATED=1 cargo test -p dht-cli --test grpc_generated
//! ```

use std::path::{Path, PathBuf};

use protox::prost::Message;
use tonic_prost_build::Builder;

/// Committed file, relative to the crate, and what it should hold.
type File = (&'static str, Vec<u8>);

fn generated() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["chord.proto"], [root.join("proto")]).expect("it compiles");
    let compile = |builder: Builder| {
        let out = tempfile::tempdir().expect("a directory");
        builder
            .out_dir(out.path())
            .bytes(".chord")
            .build_transport(false)
            .compile_fds(descriptors.clone())
            .expect("it generates");
        std::fs::read(out.path().join("chord.rs")).expect("one file by the package")
    };
    let server = tonic_prost_build::configure().build_client(false);
    let client = tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".chord", "::dht_cli::grpc::proto");
    // Comments of the file are for its readers; reflection carries names, numbers and types.
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    vec![
        ("src/grpc/generated.rs", compile(server)),
        ("src/grpc/chord.descriptors", bare.encode_to_vec()),
        ("tests/grpc/client.rs", compile(client)),
    ]
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

#[test]
fn the_committed_code_is_what_the_proto_file_says() {
    let write = std::env::var_os("WRITE_GENERATED").is_some();
    for (file, wanted) in generated() {
        if write {
            std::fs::write(path(file), &wanted).expect("it can be written");
        }
        let committed = std::fs::read(path(file)).unwrap_or_default();
        assert!(
            committed == wanted,
            "{file} is not what proto/chord.proto says; run this test with WRITE_GENERATED=1"
        );
    }
}
