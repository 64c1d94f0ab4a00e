//! `doorstep audit`: are the books right?

use anyhow::bail;

use crate::composition::Store;
use crate::config::Config;

/// Checks every invariant about money in the database, prints what it saw, and fails on any finding.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let store = Store::open_existing(&config.database).await?;
    let report = store.audit.audit().await;
    store.close().await;
    let report = report?;
    println!("{}: {} users, {} ledger entries", config.database, report.users, report.entries);
    for finding in &report.findings {
        println!("  {finding}");
    }
    match report.findings.len() {
        0 => println!("the books are right"),
        n => bail!("the books are wrong: {n} findings"),
    }
    Ok(())
}
