//! `doorstep key new NAME`: a service key for a backend.

use doorstep_adapters::security::RandomTokens;
use doorstep_application::publishing::ServiceKeys;

use crate::config::backends::KeyHash;
use crate::config::value::SettingValue;
use crate::output;

/// Prints a new key and, on the next line, its line of the configuration. Instructions go to standard error.
pub(crate) fn new(name: &str) -> anyhow::Result<()> {
    let (key, hash) = ServiceKeys::mint(&RandomTokens);
    output::line(format_args!("{key}\n{name} = {:?}", KeyHash(hash).to_text()))?;
    output::remark(format_args!(
        "\nThe first line is the key: give it to the backend. It is not shown again. The second line, with the key's \
         hash,\nbelongs in doorstep.toml under [keys], or in the environment as DOORSTEP_KEYS__{}. A running \
         server\nreads the keys again on SIGHUP, and revokes a key whose line is gone.",
        name.to_ascii_uppercase()
    ));
    Ok(())
}
