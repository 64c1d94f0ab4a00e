//! `docs/settings.md`, made from the list of settings. The tests fail when a setting is missing there, or when the page
//! differs; `UPDATE_DOCS=1 cargo test -p doorstep --lib settings` writes the page again.

use std::fmt::Write as _;

use super::layers::environment_names;
use super::settings::{SECTIONS, key_of, known};

fn page() -> String {
    let known = known();
    let mut page = String::from(
        "# Settings\n\n\
         <!-- Made from app/src/config/settings.rs; a test there keeps the two equal, and says how to write this page. -->\n\n\
         A flag beats the environment, which beats the file (`doorstep.toml`, or the file that `--config` or\n\
         `DOORSTEP_CONFIG` names), which beats the default. `doorstep config` prints what is in effect, and where each\n\
         setting came from. A setting that is unknown or not allowed is refused before anything starts.\n\n\
         Numbers and truth values stand bare in the file, everything else in quotes. A list is an array of strings, or one\n\
         string with commas. `DOORSTEP_TOKEN` (of `doorstep listen`) and `DOORSTEP_KEY` (of `doorstep story`) are no settings.\n",
    );
    for section in SECTIONS {
        let title = match section.table {
            "" => "At the top of the file".to_owned(),
            table => format!("`[{table}]`"),
        };
        write!(page, "\n## {title}\n\n").unwrap();
        if !section.about.is_empty() {
            write!(page, "{}\n\n", section.about).unwrap();
        }
        page.push_str("| setting | environment | default | meaning | allowed |\n| --- | --- | --- | --- | --- |\n");
        for (name, meaning) in section.settings {
            let key = key_of(section, name);
            let names = environment_names(&key);
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let line = known.iter().find(|line| line.key == key).expect("a known setting");
            let default = match Some(line.value.as_str()) {
                _ if section.table == "delivery.kinds.KIND" => "as in `[delivery]`".to_owned(),
                _ if *name == "NAME" || *name == "key" => String::new(),
                None | Some("\"\"") => String::new(),
                Some(value) => format!("`{value}`"),
            };
            let (names, allowed) = (names.join(" or "), line.expected);
            writeln!(page, "| `{name}` | {names} | {default} | {meaning} | {allowed} |").unwrap();
        }
    }
    page
}

#[test]
fn every_setting_is_described() {
    let described = SECTIONS.iter().flat_map(|section| {
        section.settings.iter().map(|(name, _)| key_of(section, name).to_string())
    });
    let mut described: Vec<_> = described.collect();
    let mut read: Vec<_> = known().iter().map(|line| line.key.to_string()).collect();
    described.sort();
    read.sort();
    assert_eq!(described, read);
}

#[test]
fn the_page_of_settings_is_what_the_code_knows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap();
    let differs = there.lines().zip(page.lines()).find(|(there, made)| there != made);
    assert!(
        there == page,
        "docs/settings.md differs at {differs:?}; write it again with \
         UPDATE_DOCS=1 cargo test -p doorstep --lib settings"
    );
}
