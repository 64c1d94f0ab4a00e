//! The suites accept what is right, and notice what is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_contract::memory_bank::MemoryBank;
use doorstep_contract::memory_door::{MemoryClock, MemoryDoor};
use doorstep_contract::memory_identity::{
    MemoryAuthenticator, MemoryIds, MemoryPasswords, MemoryTokens,
};
use doorstep_contract::{Reopens, all_clauses, memory, presence_and_pusher, wrong};
use doorstep_domain::ports::{Ids, Tokens};

#[tokio::test(start_paused = true)]
async fn the_registry_in_memory_keeps_every_promise() {
    presence_and_pusher(Arc::new(MemoryDoor::open())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_on_several_threads() {
    presence_and_pusher(Arc::new(MemoryDoor::open())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_keeps_every_promise() {
    let store = Arc::new(memory::Memory::default());
    doorstep_contract::inbox(store.clone()).await;
    doorstep_contract::handover(store).await;
    let store = Arc::new(memory::Memory::default());
    doorstep_contract::retention(store.clone(), store).await;
    let bank = Arc::new(MemoryBank::default());
    doorstep_contract::audit(bank.clone(), bank.clone(), bank).await;
    let bank = Arc::new(MemoryBank::default());
    doorstep_contract::accounts(bank.clone()).await;
    doorstep_contract::ledger(bank.clone()).await;
    doorstep_contract::sessions(bank.clone(), bank.clone()).await;
    doorstep_contract::positions(bank.clone(), bank.clone()).await;
    doorstep_contract::lease(bank.clone()).await;
    doorstep_contract::closing_under_a_lease(bank.clone(), bank.clone(), bank).await;
}

/// A store in memory keeps everything for as long as somebody holds it.
struct Kept<S>(Arc<S>);

#[async_trait::async_trait]
impl<S: Send + Sync + 'static> Reopens for Kept<S> {
    type Store = S;

    async fn reopen(&mut self) -> Arc<S> {
        self.0.clone()
    }
}

#[tokio::test]
async fn a_store_that_is_held_is_durable() {
    let mut memory = Kept(Arc::new(memory::Memory::default()));
    doorstep_contract::durable_inbox(&mut memory).await;
    doorstep_contract::durable_handover(&mut memory).await;
    let mut bank = Kept(Arc::new(MemoryBank::default()));
    doorstep_contract::durable_accounts(&mut bank).await;
    doorstep_contract::durable_ledger(&mut bank).await;
    doorstep_contract::durable_sessions(&mut bank).await;
    doorstep_contract::durable_positions(&mut bank).await;
    doorstep_contract::durable_lease(&mut bank).await;
}

#[tokio::test(start_paused = true)]
async fn clock_ids_passwords_tokens_and_authenticator_in_memory_keep_every_promise() {
    doorstep_contract::clock(Arc::new(MemoryClock::default())).await;
    doorstep_contract::passwords(Arc::new(MemoryPasswords::default())).await;
    let ids: Arc<dyn Ids> = Arc::new(MemoryIds::default());
    doorstep_contract::ids(&ids);
    let tokens: Arc<dyn Tokens> = Arc::new(MemoryTokens::default());
    doorstep_contract::tokens(&tokens);
    doorstep_contract::authenticator(&Arc::new(MemoryAuthenticator::default())).await;
}

#[tokio::test(start_paused = true)]
async fn each_wrong_adapter_is_caught_by_the_promise_that_it_breaks() {
    let mut otherwise = Vec::new();
    for wrong in wrong::adapters() {
        let said = wrong.caught().await;
        let said = said.unwrap_or_else(|| "not noticed".to_owned());
        if !said.starts_with(&format!("[{}]", wrong.breaks)) {
            otherwise.push(format!("{} (should break [{}]): {said}", wrong.does, wrong.breaks));
        }
        let lines = said.lines().count();
        assert!(lines <= 20 && said.len() < 1500, "{lines} lines, {} bytes", said.len());
        assert!(!said.contains("xxxxx"), "a payload is printed: {said}");
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

#[test]
fn every_promise_has_an_adapter_that_breaks_it() {
    let broken: BTreeSet<_> = wrong::adapters().iter().map(|wrong| wrong.breaks).collect();
    let missing: Vec<_> =
        all_clauses().filter(|clause| !broken.contains(clause.name)).map(|c| c.name).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_name_of_a_promise_is_unique() {
    let mut names = BTreeSet::new();
    for clause in all_clauses() {
        assert!(names.insert(clause.name), "{}", clause.name);
        assert!(!clause.promise.contains('\n') && !clause.promise.ends_with('.'));
    }
    let known = |wrong: &wrong::WrongAdapter| names.contains(wrong.breaks);
    assert!(wrong::adapters().iter().all(known));
}
