use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, PriceFeed};
use doorstep_domain::{Price, Quote, Symbol};
use tokio::time::{Instant, sleep_until};

/// Replays prices from a file, with the time differences in the file. After the last line, the last prices stay.
///
/// The file is CSV without quotes, sorted by time: `symbol,time,price`, where the time is RFC 3339. A first line
/// with exactly these words is a heading; empty lines are skipped. A quote carries the time at which it is
/// replayed, not the time in the file.
pub struct Replay {
    rows: Vec<ReplayedPrice>,
    next: usize,
    speed: u32,
    began: Option<Instant>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ReplayedPrice {
    symbol: Symbol,
    after: Duration,
    price: Price,
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Some lines are malformed: at most [`ReplayError::MAX_LINES`] are listed, each with its number.
    #[error("{} is not symbol,time,price:\n  {}", path.display(), lines.join("\n  "))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The faults, one sentence per line.
        lines: Vec<String>,
    },
    /// The file contains no price.
    #[error("{} holds no prices", .0.display())]
    Empty(PathBuf),
}

impl ReplayError {
    /// The most wrong lines that are listed.
    pub const MAX_LINES: usize = 20;
}

impl Replay {
    /// Reads the whole file, to be replayed `speed` times as fast as it was recorded.
    pub fn open(path: &Path, speed: u32, clock: Arc<dyn Clock>) -> Result<Self, ReplayError> {
        let unreadable = |cause| ReplayError::Unreadable { path: path.to_owned(), cause };
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        let mut times = Times::default();
        for (number, line) in (1..).zip(file.lines()) {
            let line = line.map_err(unreadable)?;
            let line = line.trim();
            if line.is_empty() || (number == 1 && line.eq_ignore_ascii_case("symbol,time,price")) {
                continue;
            }
            match read_row(line, &mut times) {
                Ok(row) => rows.push(row),
                Err(why) if lines.len() < ReplayError::MAX_LINES => {
                    lines.push(format!("line {number}: {why}"));
                }
                Err(_) => {}
            }
        }
        if !lines.is_empty() {
            return Err(ReplayError::Malformed { path: path.to_owned(), lines });
        }
        if rows.is_empty() {
            return Err(ReplayError::Empty(path.to_owned()));
        }
        Ok(Self { rows, next: 0, speed: speed.max(1), began: None, clock })
    }
}

/// The first and the last time that were read.
#[derive(Default)]
struct Times {
    first: Option<jiff::Timestamp>,
    last: Option<jiff::Timestamp>,
}

fn read_row(line: &str, times: &mut Times) -> Result<ReplayedPrice, String> {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    let [symbol, time, price] = columns[..] else {
        return Err(format!("it has {} columns, not 3", columns.len()));
    };
    // A file may contain anything; the message need not repeat all of it.
    let short = |text: &str| text.chars().take(40).collect::<String>();
    let symbol = symbol.parse().map_err(|e| format!("{:?}: {e}", short(symbol)))?;
    let at: jiff::Timestamp = time
        .parse()
        .map_err(|_| format!("{:?} is not a time like 2026-01-31T09:00:00.5Z", short(time)))?;
    let price = price.parse().map_err(|e| format!("the price {:?} {e}", short(price)))?;
    if times.last.is_some_and(|last| at < last) {
        return Err(format!("{} is before the time of an earlier line", short(time)));
    }
    times.last = Some(at);
    let first = *times.first.get_or_insert(at);
    let after = at.duration_since(first).unsigned_abs();
    Ok(ReplayedPrice { symbol, after, price })
}

#[async_trait]
impl PriceFeed for Replay {
    fn instruments(&self) -> Vec<Quote> {
        let at = self.clock.wall();
        let mut first = BTreeMap::new();
        for ReplayedPrice { symbol, price, .. } in &self.rows {
            first.entry(symbol).or_insert(*price);
        }
        let quote = |(symbol, price): (&Symbol, Price)| Quote { symbol: symbol.clone(), price, at };
        first.into_iter().map(quote).collect()
    }

    async fn next(&mut self) -> Option<Quote> {
        let row = self.rows.get(self.next)?;
        let began = *self.began.get_or_insert_with(Instant::now);
        sleep_until(began + row.after / self.speed).await;
        self.next += 1;
        let at = self.clock.wall();
        Some(Quote { symbol: row.symbol.clone(), price: row.price, at })
    }

    fn place(&self) -> u64 {
        u64::try_from(self.next).unwrap_or(u64::MAX)
    }

    fn go_on_from(&mut self, place: u64, _: &[Quote]) {
        self.next = usize::try_from(place).unwrap_or(usize::MAX).min(self.rows.len());
        // The pause since then is not made up for.
        let replayed = self.next.checked_sub(1).and_then(|last| self.rows.get(last));
        let replayed = replayed.map_or(Duration::ZERO, |row| row.after / self.speed);
        let now = Instant::now();
        self.began = Some(now.checked_sub(replayed).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use doorstep_domain::Timestamp;
    use doorstep_domain::ports::MockClock;

    use super::*;

    fn open(text: &str, speed: u32) -> Result<Replay, ReplayError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::default());
        Replay::open(file.path(), speed, Arc::new(clock))
    }

    #[tokio::test(start_paused = true)]
    async fn prices_come_when_they_are_due_and_end() {
        let text = "symbol,time,price\n\
            A,2026-01-31T09:00:00Z,1.5\r\n\n\
            B,2026-01-31T10:00:10+01:00,20\n\
            A , 2026-01-31T09:00:10.5Z , 1.25\n";
        let mut replay = open(text, 2).unwrap();
        let opening: Vec<_> =
            replay.instruments().iter().map(|q| format!("{} {}", q.symbol, q.price)).collect();
        assert_eq!(opening, ["A 1.50", "B 20.00"]);
        let (began, mut seen) = (Instant::now(), Vec::new());
        while let Some(quote) = replay.next().await {
            seen.push((quote.price.to_string(), began.elapsed().as_millis()));
        }
        assert_eq!(seen, [("1.50".into(), 0), ("20.00".into(), 5000), ("1.25".into(), 5250)]);
    }

    #[test]
    fn every_wrong_line_is_named() {
        let text = "A,2026-01-31T09:00:00Z,1.5\n\
            a,2026-01-31T09:00:00Z,1\n\
            A,yesterday,1\n\
            A,2026-01-31T09:00:00Z,0\n\
            A,2026-01-31T09:00:00Z,1.0000001\n\
            A,2026-01-31T09:00:00Z\n\
            A,2026-01-31T08:59:59Z,1\n\
            symbol,time,price\n";
        let Err(ReplayError::Malformed { lines, .. }) = open(text, 1) else { panic!("taken") };
        let expected = [
            "line 2: \"a\": a symbol is",
            "line 3: \"yesterday\" is not a time",
            "line 4: the price \"0\" must be above 0",
            "line 5: the price \"1.0000001\" must have at most six",
            "line 6: it has 2 columns, not 3",
            "line 7: 2026-01-31T08:59:59Z is before",
            "line 8: \"symbol\"",
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        assert!(matches!(open("\n", 1), Err(ReplayError::Empty(_))));
    }
}
