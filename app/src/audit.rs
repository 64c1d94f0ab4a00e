//! `doorstep audit`: checks that all balances and positions agree with the ledger.

use std::path::Path;

use anyhow::{bail, ensure};
use doorstep_adapters::sql;
use doorstep_domain::ports::Audit;
use serde_json::json;

use crate::cli::AuditArgs;
use crate::config::Config;
use crate::output;

/// Checks every invariant about money in the database, prints the findings, and fails if there are any.
pub(crate) async fn run(args: AuditArgs, config: &Config) -> anyhow::Result<()> {
    if let Some(file) = config.database.file() {
        // Opening would create the file, and an empty database has no findings.
        ensure!(Path::new(file).exists(), "there is no database {file}: name one with --database");
    }
    let store = sql::connect(config.database.as_str()).await?;
    let report = store.audit(&config.rewards.rules()).await;
    store.disconnect().await;
    let report = report?;
    let right = report.findings.is_empty();
    if args.format.json {
        output::json(&json!({
            "ok": right,
            "database": config.database.to_string(),
            "users": report.users,
            "ledger_entries": report.entries,
            "positions": report.positions,
            "findings": report.findings,
        }))?;
    } else {
        output::line(format_args!(
            "{}: {} users, {} ledger entries, {} positions",
            config.database, report.users, report.entries, report.positions
        ))?;
        for finding in &report.findings {
            output::line(format_args!("  {finding}"))?;
        }
        if right {
            output::line("the books are right")?;
        }
    }
    match report.findings.len() {
        0 => {}
        1 => bail!("the books are wrong: 1 finding"),
        n => bail!("the books are wrong: {n} findings"),
    }
    Ok(())
}
