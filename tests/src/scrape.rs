//! What `/metrics` prints, read strictly: the text format of Prometheus, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape of a node.
#[derive(Debug)]
pub struct Scrape {
    /// Every metric by its name.
    pub families: BTreeMap<String, Family>,
    samples: Vec<Sample>,
}

/// One metric.
#[derive(Debug, Default)]
pub struct Family {
    /// Its help text.
    pub help: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The names of its labels, without `le`.
    pub labels: BTreeSet<String>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Scrapes the node at this URL, such as `http://127.0.0.1:3000`.
    ///
    /// # Panics
    /// When the node does not answer, or the text is not as the format wants it.
    pub async fn of(url: &str) -> Self {
        let response = reqwest::get(format!("{url}/metrics")).await.expect("the node answers");
        Self::read(&response.text().await.expect("a body"))
    }

    /// Reads the text.
    ///
    /// # Panics
    /// When it is not as the format wants it.
    pub fn read(text: &str) -> Self {
        let mut scrape = Self { families: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            scrape.read_line(line).unwrap_or_else(|| panic!("not a line of metrics: {line}"));
        }
        for (name, family) in &scrape.families {
            assert!(!family.help.is_empty() && !family.kind.is_empty(), "{name}: {family:?}");
            let is_total = name.ends_with("_total");
            assert_eq!(family.kind == "counter", is_total, "{name} is a {}", family.kind);
            assert!(
                scrape.samples.iter().any(|s| scrape.family_of(&s.name) == Some(name)),
                "{name}"
            );
        }
        for (place, sample) in scrape.samples.iter().enumerate() {
            let same = |s: &&Sample| s.name == sample.name && s.labels == sample.labels;
            assert!(!scrape.samples[..place].iter().any(|s| same(&s)), "twice: {sample:?}");
        }
        scrape
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            help.clone_into(&mut self.families.entry(name.to_owned()).or_default().help);
            return Some(());
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            kind.clone_into(&mut self.families.get_mut(name)?.kind);
            return Some(());
        }
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}')?)?),
            None => (series, BTreeMap::new()),
        };
        let family = self.family_of(name)?.to_owned();
        let family = self.families.get_mut(&family)?;
        family.labels.extend(labels.keys().filter(|label| *label != "le").cloned());
        self.samples.push(Sample { name: name.to_owned(), labels, value: value.parse().ok()? });
        Some(())
    }

    /// The metric that a series belongs to.
    pub fn family_of<'a>(&'a self, series: &'a str) -> Option<&'a String> {
        if let Some((name, _)) = self.families.get_key_value(series) {
            return Some(name);
        }
        let of = |suffix: &&str| self.families.get_key_value(series.strip_suffix(*suffix)?);
        let (name, family) = ["_bucket", "_sum", "_count"].iter().find_map(of)?;
        (family.kind == "histogram").then_some(name)
    }

    /// The value of one series; `None` if there is none with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let labels: BTreeMap<String, String> = labels.collect();
        let found = self.samples.iter().find(|s| s.name == name && s.labels == labels)?;
        Some(found.value)
    }

    /// The sum of all series of this name that have these labels, whatever others they have.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |s: &&Sample| {
            labels.iter().all(|(name, value)| s.labels.get(*name).is_some_and(|v| v == value))
        };
        let found = self.samples.iter().filter(|s| s.name == name).filter(has);
        found.map(|s| s.value).sum()
    }
}

/// Reads `name="value",...`; a value may contain any character, some of them escaped.
fn read_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_letter) {
            return None;
        }
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next()? {
                (place, '"') => break place,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
    Some(labels)
}
