//! Adapters that each break one promise. They show that the suites notice, and what a failure looks like.

mod doors;

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

/// All of them.
pub fn adapters() -> Vec<WrongAdapter> {
    doors::all()
}
