//! The pages in Markdown: links and anchors lead somewhere, both READMEs say the same, and figures are measured ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::layers::texts;

/// A page's lines without its fenced code, in which `](` and `#` mean other things.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The targets of a page's links and pictures, in order.
fn links(text: &str) -> Vec<&str> {
    let after = |line| str::split(line, "](").skip(1);
    prose(text).flat_map(after).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors that GitHub gives to a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let plain = words.chars().filter(kept).collect::<String>().replace(' ', "-");
        let before = seen.entry(plain.clone()).or_default();
        *before += 1;
        if *before == 1 { plain } else { format!("{plain}-{}", *before - 1) }
    };
    headings.map(anchor).collect()
}

/// `a/../b` as `b`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

/// All pages of the repository, with their text.
fn pages() -> BTreeMap<PathBuf, String> {
    let is_page = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let all = texts(".").into_iter().map(|(path, text)| (normal(Path::new(&path)), text));
    all.filter(|(path, _)| is_page(path)).collect()
}

fn page(name: &str) -> String {
    pages().remove(Path::new(name)).unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = pages();
    for (page, text) in &pages {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').map_or((link, None), |(f, a)| (f, Some(a)));
            let target = match file {
                "" => page.clone(),
                _ => normal(&page.parent().unwrap().join(file)),
            };
            assert!(root.join(&target).exists(), "{}: nothing is at {link}", page.display());
            let Some(anchor) = anchor else { continue };
            let found = pages.get(&target).is_some_and(|text| anchors(text).contains(anchor));
            assert!(found, "{}: no heading for {link}", page.display());
        }
    }
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# One, `two.THREE`\n```sh\n# a comment\n```\n## It's 2 - 3\n## One, two three\n## Same\n## Same\n";
    let expected = ["one-twothree", "its-2---3", "one-two-three", "same", "same-1"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}

#[test]
fn the_index_lists_every_page() {
    let index = page("docs/README.md");
    let listed: BTreeSet<&str> = links(&index).into_iter().collect();
    for page in pages().keys().filter_map(|page| page.strip_prefix("docs").ok()) {
        let name = page.to_str().unwrap();
        assert!(
            name == "README.md" || listed.contains(name),
            "docs/README.md does not list {name}"
        );
    }
}

/// What two languages have in common: commands without comments, links, and figures.
#[derive(Debug, PartialEq)]
struct Facts {
    commands: Vec<String>,
    links: Vec<String>,
    figures: Vec<String>,
}

impl Facts {
    /// `sibling` is the name of the page in the other language.
    fn of(text: &str, sibling: &str) -> Self {
        assert!(links(text).contains(&sibling), "no link to {sibling}");
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let command = |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
        let rows = prose(text).filter(|line| line.starts_with('|'));
        let cells = rows.flat_map(|row| row.split('|').map(str::trim));
        let is_figure = |cell: &&str| cell.starts_with(|c: char| c.is_ascii_digit());
        Self {
            commands: blocks.flat_map(str::lines).map(command).collect(),
            links: links(text).into_iter().filter(|l| *l != sibling).map(str::to_owned).collect(),
            figures: cells.filter(is_figure).map(str::to_owned).collect(),
        }
    }
}

#[test]
fn both_readmes_are_short_and_have_the_same_commands_links_and_figures() {
    let (english, chinese) = (page("README.md"), page("README.zh-CN.md"));
    for text in [&english, &chinese] {
        assert!(text.lines().count() < 200, "a README has less than 200 lines");
    }
    let facts = Facts::of(&english, "README.zh-CN.md");
    assert!(facts.commands.len() >= 2 && facts.links.len() > 20 && facts.figures.len() > 10);
    assert_eq!(facts, Facts::of(&chinese, "README.md"));
}

/// The tables of a page whose first row begins with `median`: the figure in each row and column, without ranges and
/// separators of thousands.
fn medians(text: &str) -> BTreeMap<(String, String), String> {
    let mut columns = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            columns.clear();
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        if cells[0].starts_with("median") {
            columns = cells;
            continue;
        }
        for (column, cell) in columns.iter().zip(&cells).skip(1) {
            let figure = cell.split(" (").next().unwrap_or_default().replace(',', "");
            found.insert((cells[0].to_owned(), (*column).to_owned()), figure);
        }
    }
    found
}

#[test]
fn the_claims_of_the_readme_are_rows_of_the_benchmarks() {
    let claims = medians(&page("README.md"));
    let measured = medians(&page("docs/benchmarks.md"));
    assert!(
        claims.values().filter(|claim| claim.starts_with(|c: char| c.is_ascii_digit())).count()
            > 10
    );
    for (place, claim) in &claims {
        assert_eq!(
            Some(claim),
            measured.get(place),
            "{place:?}: left the README, right docs/benchmarks.md"
        );
    }
}
