//! The alert rules and the dashboard use only what the real binary prints.

use std::collections::BTreeSet;

use doorstep_tests::scrape::Scrape;
use serde_json::Value;

use super::everything::scrape_of_everything;
use super::metrics::promtool;

const ALERTS: &str = include_str!("../../../app/deploy/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../app/deploy/grafana/doorstep.json");
const OPERATE: &str = include_str!("../../../docs/operate.md");

/// Labels that Prometheus adds when it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

/// What an expression uses: series, each with the labels that it selects by, and labels that it groups by.
#[derive(Debug, Default, PartialEq)]
struct Used {
    series: Vec<(String, Vec<String>)>,
    grouped_by: Vec<String>,
}

/// Reads an expression of `PromQL` as far as names go.
fn used(expression: &str) -> Used {
    const GROUPS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    const WORDS: [&str; 9] = ["and", "or", "unless", "bool", "offset", "sum", "max", "min", "avg"];
    let mut used = Used::default();
    let mut groups = false;
    let mut selects = false;
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        let length = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
        let mut taken = c.len_utf8();
        match c {
            '"' => taken += rest[1..].find('"').expect("a string has an end") + 1,
            // A variable of the dashboard, or a number with its unit.
            '$' | '0'..='9' => {
                taken += rest[1..]
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len() - 1);
            }
            '{' => selects = true,
            '}' => selects = false,
            ')' => groups = false,
            c if c.is_ascii_alphabetic() || c == '_' => {
                taken = length(|c| c.is_ascii_alphanumeric() || c == '_');
                let (word, after) = rest.split_at(taken);
                if selects {
                    used.series.last_mut().expect("a series").1.push(word.to_owned());
                } else if GROUPS.contains(&word) {
                    groups = true;
                } else if groups {
                    used.grouped_by.push(word.to_owned());
                } else if !WORDS.contains(&word) && !after.trim_start().starts_with('(') {
                    used.series.push((word.to_owned(), Vec::new()));
                }
            }
            _ => {}
        }
        rest = &rest[taken..];
    }
    used
}

/// Fails if the expression, or a text that shows these labels, uses something that is not in the scrape.
fn check(scrape: &Scrape, expression: &str, shown: &[String]) {
    let Used { series, grouped_by } = used(expression);
    assert!(!series.is_empty(), "nothing is used: {expression}");
    let mut known: BTreeSet<&str> = OF_THE_SCRAPE.into();
    for (name, selected_by) in &series {
        if name == "up" {
            continue;
        }
        let family = scrape.family_of(name);
        let family = family.unwrap_or_else(|| panic!("no node prints {name}: {expression}"));
        let labels = &scrape.families[family].labels;
        known.extend(labels.iter().map(String::as_str));
        if name.ends_with("_bucket") {
            known.insert("le");
        }
        for label in selected_by {
            let is_known = labels.contains(label) || OF_THE_SCRAPE.contains(&label.as_str());
            assert!(is_known, "{name} has no label {label}: {expression}");
        }
    }
    for label in grouped_by.iter().chain(shown) {
        assert!(known.contains(label.as_str()), "no series has a label {label}: {expression}");
    }
}

/// The names between `begin` and `end`, such as labels in a text.
fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let parts = text.split(begin).skip(1);
    parts.filter_map(|part| Some(part.split_once(end)?.0.trim().to_owned())).collect()
}

#[test]
fn an_expression_is_read() {
    let expression = r#"sum by (instance, le) (rate(a_bucket{b="x{y}", c!~"z"}[5m])) > 0.5 * on(job) d or up == 0"#;
    let series = [("a_bucket", &["b", "c"][..]), ("d", &[]), ("up", &[])];
    let series = series.map(|(name, labels)| {
        (name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect())
    });
    let grouped_by = ["instance", "le", "job"].map(str::to_owned).into();
    assert_eq!(used(expression), Used { series: series.into(), grouped_by });
}

#[tokio::test]
async fn alerts_use_what_is_there_and_say_what_to_do() {
    let scrape = Scrape::read(scrape_of_everything().await);
    let mut names = BTreeSet::new();
    for rule in ALERTS.split("- alert: ").skip(1) {
        let (name, rule) = rule.split_once('\n').unwrap();
        let (_, expression) = rule.split_once("expr: ").unwrap();
        let expression = expression.lines().next().unwrap().trim_matches('\'');
        check(&scrape, expression, &between(rule, "$labels.", " }}"));
        let row = format!("| `{name}` |");
        assert!(OPERATE.contains(&row), "docs/operate.md does not say what to do on {name}");
        assert!(rule.contains("runbook: docs/operate.md#alerts"), "{name}");
        assert!(names.insert(name), "{name} is there twice");
    }
    let documented = OPERATE.lines().filter(|line| line.starts_with("| `Doorstep")).count();
    assert_eq!(documented, names.len(), "docs/operate.md names others");

    for arguments in [
        ["check", "rules", "app/deploy/prometheus/alerts.yml"],
        ["test", "rules", "tests/it/operate/alerts.test.yml"],
    ] {
        let checked = promtool(&arguments, "").await;
        let said = String::from_utf8_lossy(&checked.stdout);
        let error = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{said}{error}");
    }
}

/// Calls `f` with every object in it.
fn each_object(value: &Value, f: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| each_object(one, f)),
        Value::Object(object) => {
            f(object);
            object.values().for_each(|one| each_object(one, f));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_uses_what_is_there() {
    let scrape = Scrape::read(scrape_of_everything().await);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut count, mut ids) = (0, BTreeSet::new());
    each_object(&dashboard, &mut |object| {
        if let Some(expression) = object.get("expr").and_then(Value::as_str) {
            let legend = object["legendFormat"].as_str().unwrap();
            check(&scrape, expression, &between(legend, "{{", "}}"));
            count += 1;
        }
        if let Some(query) = object.get("definition").and_then(Value::as_str) {
            let (series, _) = query.strip_prefix("label_values(").unwrap().split_once(',').unwrap();
            check(&scrape, series, &[]);
        }
        if object.contains_key("gridPos") {
            assert!(ids.insert(object["id"].as_u64().unwrap()), "two panels of one id");
            assert_ne!(object["title"], "");
        }
    });
    assert!(count > 20, "{count} expressions");
}
