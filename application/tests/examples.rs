//! The examples run to their ends. Each checks by itself what it shows.

#[path = "../examples/handover_to_file.rs"]
mod handover_to_file;
#[path = "../examples/own_kinds.rs"]
mod own_kinds;
#[path = "../examples/own_registry.rs"]
mod own_registry;

type Shown = Result<(), Box<dyn std::error::Error>>;

#[test]
fn a_registry_of_ones_own() -> Shown {
    own_registry::main()
}

#[test]
fn handover_to_a_file() -> Shown {
    handover_to_file::main()
}

#[test]
fn kinds_of_ones_own() -> Shown {
    own_kinds::main()
}
