//! `doorstep audit`: checks that all balances and positions agree with the ledger.

use std::path::Path;

use anyhow::{bail, ensure};
use doorstep_adapters::sql;
use doorstep_domain::ports::Audit;

use crate::config::Config;
use crate::output;

/// Checks every invariant about money in the database, prints the findings, and fails if there are any.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    if let Some(file) = config.database.file() {
        // Opening would create the file, and an empty database has no findings.
        ensure!(Path::new(file).exists(), "there is no database {file}: name one with --database");
    }
    let store = sql::connect(config.database.as_str()).await?;
    let report = store.audit(&config.rewards.rules()).await;
    store.disconnect().await;
    let report = report?;
    output::line(format_args!(
        "{}: {} users, {} ledger entries, {} positions",
        config.database, report.users, report.entries, report.positions
    ))?;
    for finding in &report.findings {
        output::line(format_args!("  {finding}"))?;
    }
    match report.findings.len() {
        0 => output::line("the books are right")?,
        1 => bail!("the books are wrong: 1 finding"),
        n => bail!("the books are wrong: {n} findings"),
    }
    Ok(())
}
