//! What is different between two readings of the configuration, for the log of a reload.

use super::Loaded;
use super::layers::SettingKey;

/// A setting that is different. Its values are as `doorstep config` prints them, so without secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingChange {
    pub(crate) key: SettingKey,
    /// `None` if it was not there.
    pub(crate) before: Option<String>,
    /// `None` if it is not there any more.
    pub(crate) after: Option<String>,
}

impl SettingChange {
    /// Whether a serving node takes it over: the service keys, and the keys that verify tokens.
    pub(crate) fn is_live(&self) -> bool {
        match &self.key.0[..] {
            [table, ..] if table == "keys" => true,
            [table, keys, ..] => table == "jwt" && keys == "keys",
            _ => false,
        }
    }
}

impl Loaded {
    /// The settings that are different in a newer reading.
    pub(crate) fn changes(&self, newer: &Self) -> Vec<SettingChange> {
        let find = |loaded: &Self, key: &SettingKey| {
            let line = loaded.lines.iter().find(|line| line.key == *key);
            line.map(|line| (line.value.clone(), line.fingerprint))
        };
        let mut keys: Vec<_> =
            self.lines.iter().chain(&newer.lines).map(|line| &line.key).collect();
        keys.sort();
        keys.dedup();
        let changes = keys.into_iter().filter_map(|key| {
            let (before, after) = (find(self, key), find(newer, key));
            let same = match (&before, &after) {
                // A secret looks the same when it has changed; another spelling of a duration is the same duration.
                (Some((before, was)), Some((after, is))) => {
                    before == after && (was == is || !after.contains("***"))
                }
                _ => false,
            };
            let value = |found: Option<(String, u64)>| found.map(|(value, _)| value);
            (!same).then(|| SettingChange {
                key: key.clone(),
                before: value(before),
                after: value(after),
            })
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;

    fn changed(before: &str, after: &str) -> Vec<(String, bool)> {
        let (before, after) = (load(before, &[], &[]).unwrap(), load(after, &[], &[]).unwrap());
        let changes = before.changes(&after);
        changes.iter().map(|change| (change.key.to_string(), change.is_live())).collect()
    }

    #[test]
    fn what_has_changed_is_listed_with_what_it_needs() {
        let key = |secret: &str| format!("[jwt.keys.a]\nkey = \"{secret}\"");
        let one = |key: &str, live| vec![(key.to_owned(), live)];
        assert_eq!(changed("[delivery]\nttl = \"60s\"", "[delivery]\nttl = \"1m\""), []);
        assert_eq!(changed("", "[delivery]\nttl = \"5s\""), one("delivery.ttl", false));
        assert_eq!(
            changed("[webhook]\nsecret = \"a\"", "[webhook]\nsecret = \"b\""),
            one("webhook.secret", false)
        );
        assert_eq!(changed(&key("a"), &key("b")), one("jwt.keys.a.key", true));
        assert_eq!(changed(&key("a"), "").len(), 3);
    }
}
