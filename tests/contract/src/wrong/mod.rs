//! Adapters that each break one promise. They show that the suites notice, and what a failure looks like.
//!
//! Each file has the wrong adapters of some ports: the one in memory behind a flaw, and a table of the flaws.

mod banks;
mod doors;
mod handovers;
mod identity;
mod inboxes;
mod logs;
mod retentions;
mod sources;

use std::future::Future;
use std::pin::Pin;

/// An adapter that is wrong in one way.
pub struct WrongAdapter {
    /// What it does.
    pub does: &'static str,
    /// The name of the promise that it breaks.
    pub breaks: &'static str,
    run: Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
}

impl WrongAdapter {
    /// Runs the suite on it, in a task. Returns what the suite says; `None` if it notices nothing.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn caught(&self) -> Option<String> {
        let failed = tokio::spawn((self.run)()).await.err()?;
        let panic = failed.into_panic();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
    }
}

/// The wrong adapters of a table: a flaw, what an adapter with it does, and the promise that it breaks.
fn with_flaws<F, R>(
    flaws: &[(F, &'static str, &'static str)],
    run: impl Fn(F) -> R + Copy + Send + Sync + 'static,
) -> Vec<WrongAdapter>
where
    F: Copy + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let wrong = |&(flaw, does, breaks)| WrongAdapter {
        does,
        breaks,
        run: Box::new(move || Box::pin(run(flaw))),
    };
    flaws.iter().map(wrong).collect()
}

/// All of them.
pub fn adapters() -> Vec<WrongAdapter> {
    let ports = [
        doors::all(),
        inboxes::all(),
        handovers::all(),
        retentions::all(),
        banks::all(),
        sources::all(),
        logs::all(),
        identity::all(),
    ];
    ports.into_iter().flatten().collect()
}
