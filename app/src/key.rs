//! `doorstep key new NAME`: a service key for a backend.

use doorstep_adapters::security::RandomTokens;
use doorstep_application::publishing::ServiceKeys;

use crate::config::backends::KeyHash;
use crate::config::value::SettingValue;
use crate::output;

/// Prints a new key and, on the next line, what makes it good; what to do with them goes to standard error.
pub(crate) fn new(name: &str) -> anyhow::Result<()> {
    let (key, hash) = ServiceKeys::mint(&RandomTokens);
    output::line(format_args!("{key}\n{name} = {:?}", KeyHash(hash).to_text()))?;
    output::remark(format_args!(
        "\nThe first line is the key: give it to the backend; it is not shown again. The second, which \
         knows only its hash,\nbelongs into doorstep.toml under [keys], or into the environment as \
         DOORSTEP_KEYS__{}. A running\nserver takes it over on SIGHUP, and forgets a key whose line is gone.",
        name.to_ascii_uppercase()
    ));
    Ok(())
}
