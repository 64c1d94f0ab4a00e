//! `doorstep config --default`: a file with every setting at its default, as a comment, so that a default that changes
//! with a new version still applies to who has not changed it.

use std::fmt::Write as _;

use super::layers::environment_names;
use super::settings::{SECTIONS, Section, key_of, known};

const HEAD: &str = "\
# The configuration of Doorstep. Every setting is here with its default, as a comment: a line that begins with # and a name.
# Remove the # to change one. Examples of tables with names of your own are comments too, with a space after the #.
# `doorstep config --check --config FILE` finds every fault.
";

/// The text of the file.
pub(crate) fn default_file() -> String {
    let known = known();
    let mut file = HEAD.to_owned();
    for section in SECTIONS {
        let (sign, table) = match section {
            section if section.table == "keys" => ("# ", "[keys]".to_owned()),
            section if section.is_named() => ("# ", format!("# [{}]", example(section.table))),
            section => ("#", format!("[{}]", section.table)),
        };
        file.push('\n');
        if !section.table.is_empty() {
            file.extend([table.as_str(), "\n"]);
        }
        if !section.about.is_empty() {
            file.extend(["# ", plain(section.about).as_str(), "\n"]);
        }
        for (name, meaning) in section.settings {
            let key = key_of(section, name);
            let Some(line) = known.iter().find(|line| line.key == key) else { continue };
            let names = environment_names(&key).join(" or ");
            // Writing to a string does not fail.
            let _ = write!(
                file,
                "\n# {}\n# Expected: {}. Environment: {names}\n",
                plain(meaning),
                line.expected
            );
            let _ =
                writeln!(file, "{sign}{} = {}", example(name), value(section, name, &line.value));
        }
    }
    file
}

/// The value that is shown. Secrets are shown empty.
fn value<'a>(section: &Section, name: &str, value: &'a str) -> &'a str {
    if section.table == "jwt.keys.ID" && name == "key" { "\"\"" } else { value }
}

/// A name in capitals stands for one that the file chooses.
fn example(name: &str) -> String {
    name.replace("KIND", "\"position.closed\"")
        .replace("SYMBOL", "ACME")
        .replace("NAME", "shop")
        .replace("ID", "shop")
}

/// Markdown without its links.
fn plain(text: &str) -> String {
    let mut parts = text.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("](").and_then(|(shown, rest)| Some((shown, rest.split_once(')')?.1)))
        {
            Some((shown, rest)) => plain.extend([shown, rest]),
            None => plain.extend(["[", part]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::load;
    use super::*;

    /// The file with every setting as a setting.
    pub(crate) fn uncommented() -> String {
        let is_setting = |line: &&str| {
            line.strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        let file = default_file();
        let lines = file.lines().map(|line| match line {
            line if is_setting(&line) => &line[1..],
            line => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn it_says_the_defaults_with_and_without_its_comments() {
        for file in [default_file(), uncommented()] {
            assert_eq!(load(&file, &[], &[]).unwrap().config, Config::defaults(), "{file}");
        }
    }

    #[test]
    fn every_setting_is_a_line_of_it() {
        let loaded = load(&uncommented(), &[], &[]).unwrap();
        let given = loaded
            .lines
            .iter()
            .filter(|line| line.origin != super::super::layers::SettingOrigin::Default);
        let sections = SECTIONS.iter().filter(|section| !section.is_named());
        assert_eq!(given.count(), sections.map(|section| section.settings.len()).sum::<usize>());
    }

    #[test]
    fn links_are_written_as_their_text() {
        assert_eq!(
            plain("see ([wire.md](wire.md#b)) in `[delivery]`."),
            "see (wire.md) in `[delivery]`."
        );
    }
}
