//! `doorstep migrate`: brings the schema of the database up to date, or says with `--plan` what that would do.

use doorstep_adapters::sql::{
    self, MigrationPlan, MigrationState, PlanVerdict, PlannedMigration, Sharing,
};
use serde_json::json;

use crate::cli::MigrateArgs;
use crate::composition;
use crate::config::Config;
use crate::output;

/// The exit code when migrations would run.
const WOULD_RUN: u8 = 3;
/// The exit code when the database is newer than this program.
const NEWER: u8 = 4;

/// What a plan found, other than that there is nothing to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Planned {
    /// Migrations would run.
    #[error("a start would migrate the schema")]
    Pending,
    /// A newer version has used the database.
    #[error("the database is newer than this program, which would refuse to start")]
    Newer,
    /// Somebody has changed the schema, or a migration did not end.
    #[error("the schema is not as this program left it, and it would refuse to start")]
    Broken,
}

impl Planned {
    /// The exit code of `doorstep migrate --plan`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Pending => WOULD_RUN,
            Self::Newer => NEWER,
            Self::Broken => crate::FAILED,
        }
    }
}

/// Migrates the configured database, or only prints the plan.
pub(crate) async fn run(args: MigrateArgs, config: &Config) -> anyhow::Result<()> {
    let Some(tables) = composition::tables(config) else {
        anyhow::bail!("this configuration opens no database: no part needs one");
    };
    let url = config.database.as_str();
    let plan = sql::plan(url, tables).await?;
    if !args.plan && plan.verdict() != PlanVerdict::UpToDate {
        sql::connect_to(url, tables, Sharing::Alone).await?.disconnect().await;
    }
    if args.format.json {
        output::json(&as_json(&plan, config, !args.plan))?;
    } else {
        print(&plan, config, !args.plan)?;
    }
    match plan.verdict() {
        _ if !args.plan => Ok(()),
        PlanVerdict::UpToDate => Ok(()),
        PlanVerdict::Pending => Err(Planned::Pending.into()),
        PlanVerdict::Newer => Err(Planned::Newer.into()),
        PlanVerdict::Broken => Err(Planned::Broken.into()),
    }
}

fn print(plan: &MigrationPlan, config: &Config, ran: bool) -> anyhow::Result<()> {
    let schema = plan.schema().map_or_else(|| "none".to_owned(), |number| number.to_string());
    let (database, program) = (&config.database, plan.program());
    output::line(format_args!("{database}: schema {schema}, this program {program}"))?;
    for one in &plan.migrations {
        let effect = one.effect.unwrap_or("is of a newer version");
        let state = state(one, ran).replace('_', " ");
        output::line(format_args!("  {:<3} {state:<10}  {effect}{}", one.number, lock(one)))?;
    }
    Ok(())
}

/// Which writers wait while a migration runs that has not run yet.
fn lock(one: &PlannedMigration) -> String {
    match (one.state, one.locks) {
        (MigrationState::Pending, Some(table)) => {
            format!("; nobody writes to {table} meanwhile, and many rows take longer")
        }
        _ => String::new(),
    }
}

fn state(one: &PlannedMigration, ran: bool) -> &'static str {
    match one.state {
        MigrationState::Applied => "applied",
        MigrationState::Pending if ran => "ran",
        MigrationState::Pending => "pending",
        MigrationState::NotNeeded => "not_needed",
        MigrationState::Unknown => "unknown",
        MigrationState::Changed => "changed",
        MigrationState::Unfinished => "unfinished",
    }
}

fn as_json(plan: &MigrationPlan, config: &Config, ran: bool) -> serde_json::Value {
    let migrations = plan.migrations.iter().map(|one| {
        json!({
            "number": one.number,
            "state": state(one, ran),
            "effect": one.effect,
            "locks": one.locks,
        })
    });
    let verdict = match plan.verdict() {
        PlanVerdict::Pending if ran => "migrated",
        PlanVerdict::Pending => "pending",
        PlanVerdict::UpToDate => "up_to_date",
        PlanVerdict::Newer => "newer",
        PlanVerdict::Broken => "broken",
    };
    json!({
        "database": config.database.to_string(),
        "schema": plan.schema(),
        "program": plan.program(),
        "verdict": verdict,
        "migrations": migrations.collect::<Vec<_>>(),
    })
}
