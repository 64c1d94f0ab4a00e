//! The suites accept what is right, and notice what is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_contract::memory_door::MemoryDoor;
use doorstep_contract::{DOOR_CLAUSES, presence_and_pusher, wrong};

#[tokio::test(start_paused = true)]
async fn the_registry_in_memory_keeps_every_promise() {
    presence_and_pusher(Arc::new(MemoryDoor::open())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_on_several_threads() {
    presence_and_pusher(Arc::new(MemoryDoor::open())).await;
}

#[tokio::test(start_paused = true)]
async fn each_wrong_adapter_is_caught_by_the_promise_that_it_breaks() {
    for wrong in wrong::adapters() {
        let said = wrong.caught().await;
        let said = said.unwrap_or_else(|| panic!("not noticed: {}", wrong.does));
        let named = format!("[{}]", wrong.breaks);
        assert!(said.starts_with(&named), "{}: {said}", wrong.does);
        let lines = said.lines().count();
        assert!(lines <= 20 && said.len() < 1500, "{lines} lines, {} bytes", said.len());
    }
}

#[test]
fn every_promise_of_the_ports_of_pushing_has_an_adapter_that_breaks_it() {
    let broken: BTreeSet<_> = wrong::adapters().iter().map(|wrong| wrong.breaks).collect();
    let missing: Vec<_> =
        DOOR_CLAUSES.iter().filter(|clause| !broken.contains(clause.name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
