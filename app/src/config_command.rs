//! `doorstep config`: what is in effect, what is wrong, and what could be set.

use serde_json::json;

use crate::cli::{ConfigArgs, SettingFlags};
use crate::composition;
use crate::config::{self, Config, ConfigError, Loaded};
use crate::output;

/// Prints what the arguments ask for. Fails if the configuration is wrong.
pub(crate) fn run(args: &ConfigArgs, settings: SettingFlags) -> anyhow::Result<()> {
    if args.default {
        return output::line(config::default_file().trim_end());
    }
    if args.schema {
        return output::line(serde_json::to_string_pretty(&config::schema())?);
    }
    let loaded = load(args, settings);
    if args.format.json {
        output::json(&match &loaded {
            Ok(_) if args.check => json!({"ok": true, "faults": []}),
            Ok(loaded) => loaded.to_json(),
            Err(error) => json!({"ok": false, "faults": error.faults()}),
        })?;
        return Ok(loaded.map(drop)?);
    }
    match loaded? {
        _ if args.check => output::line("the configuration is right"),
        loaded => output::line(loaded.to_toml()),
    }
}

fn load(args: &ConfigArgs, settings: SettingFlags) -> Result<Loaded, ConfigError> {
    let loaded = Config::load(settings.into_sources())?;
    if args.check {
        composition::check(&loaded.config)?;
    }
    Ok(loaded)
}
