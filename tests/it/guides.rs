//! The guides: the code that a page quotes is that of the file, and the files that a guide names are all there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::texts;

/// Every text file of the repository, by its path.
fn files() -> BTreeMap<String, String> {
    let path = |path: String| path.trim_start_matches("./").to_owned();
    texts(".").into_iter().map(|(name, text)| (path(name), text)).collect()
}

/// Lines without indentation: a page shows the code of a nested block at its left edge.
fn flat(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n") + "\n"
}

/// The code of a page that follows `<!-- from FILE -->`, with the file.
fn quotes(page: &str) -> Vec<(&str, &str)> {
    let quote = |rest| {
        let (file, rest) = str::split_once(rest, " -->\n```")?;
        let (_language, rest) = rest.split_once('\n')?;
        Some((file, rest.split_once("```")?.0))
    };
    page.split("\n<!-- from ").skip(1).filter_map(quote).collect()
}

#[test]
fn the_code_that_a_page_quotes_is_in_the_file() {
    let files = files();
    let mut found = 0;
    for (page, text) in files.iter().filter(|(page, _)| page.starts_with("docs/")) {
        let quotes = quotes(text);
        assert_eq!(
            quotes.len(),
            text.matches("\n<!-- from ").count(),
            "{page}: no code after a `from`"
        );
        for (file, code) in quotes {
            let source = files.get(file).unwrap_or_else(|| panic!("{page}: there is no {file}"));
            let same = flat(source).contains(&flat(code));
            assert!(same, "{page}: this is not in {file} any more:\n{code}");
            found += 1;
        }
    }
    assert!(found > 20, "{found} quotes");
}

/// What a section of the guide follows: its words, and where files with them must be named.
struct Trail {
    heading: &'static str,
    words: &'static [&'static str],
    folders: &'static [&'static str],
}

/// These mention the words, and nothing in them changes for a new event, kind or reward.
const IN_PASSING: [&str; 3] = ["app/web/README.md", "app/web/index.html", "docs/new-event.md"];

const TRAILS: [Trail; 3] = [
    Trail {
        heading: "## The event\n",
        words: &["DomainEvent::UserRegistered", "Self::UserRegistered"],
        folders: &["domain/src", "application/src", "adapters/src", "app/src"],
    },
    Trail {
        heading: "## The kind\n",
        words: &["\"reward.granted\""],
        folders: &["application/src", "app/web", "tests/js/consumer.ts"],
    },
    Trail {
        heading: "## The reward\n",
        words: &["FirstClose", "first_close"],
        folders: &[
            "domain/src",
            "application/src",
            "adapters/src",
            "app/src",
            "tests/contract/src",
            "docs",
        ],
    },
];

/// The files in the table of a section.
fn named(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let first_cells =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_guide_of_an_event_names_every_file() {
    let page = include_str!("../../docs/new-event.md");
    let files = files();
    for Trail { heading, words, folders } in TRAILS {
        let here = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
        let has = |text: &str| words.iter().any(|word| text.contains(word));
        let found = files.iter().filter(|(path, text)| here(path) && has(text));
        let found =
            found.map(|(path, _)| path.clone()).filter(|path| !IN_PASSING.contains(&&**path));
        let found: BTreeSet<String> = found.collect();
        assert_eq!(named(page, heading), found, "docs/new-event.md, {}", heading.trim());
    }
}
