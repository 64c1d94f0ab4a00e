//! The `[market]` table: where prices come from.

use std::num::NonZeroU32;
use std::path::PathBuf;

use doorstep_domain::{Price, Symbol};

use super::quoted::quoted;
use super::reader::SettingReader;
use super::value::{SettingValue, Shape, Span, words};

/// Where prices come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarketConfig {
    pub(crate) source: PriceSource,
    /// For the simulation: the same seed gives the same prices.
    pub(crate) seed: u64,
    /// For the simulation: how often each instrument gets a price.
    pub(crate) tick_interval: Span,
    /// How many times faster than real time the simulated market runs.
    pub(crate) speed: NonZeroU32,
    /// For the simulation.
    pub(crate) instruments: Vec<InstrumentConfig>,
    /// The prices to replay.
    pub(crate) file: CsvFile,
    /// How many times faster than recorded the file is replayed.
    pub(crate) replay_speed: NonZeroU32,
}

words! {
    /// The source of prices.
    PriceSource, "simulation or replay", {
        /// They are simulated.
        Simulation = "simulation",
        /// They are replayed from a file.
        Replay = "replay",
    }
}

/// One simulated instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstrumentConfig {
    pub(crate) symbol: Symbol,
    /// The first price.
    pub(crate) price: Price,
    /// The expected growth per year of the market's time, as a logarithm.
    pub(crate) drift: Ratio,
    /// The standard deviation of that growth.
    pub(crate) volatility: Ratio,
}

/// A number with up to six decimal places, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ratio(i64);

impl Ratio {
    const fn percent(percent: i64) -> Self {
        Self(percent * 10_000)
    }

    /// For the simulation, the only part that computes with floating point numbers.
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 by far")]
    pub(crate) fn to_float(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }
}

impl SettingValue for Ratio {
    const EXPECTED: &'static str = "a number from -100 to 100 in quotes, like \"0.6\"";
    const SHAPE: Shape = Shape::Pattern("^-?[0-9]+(\\.[0-9]+)?$");

    fn from_text(text: &str) -> Option<Self> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        if digits.bytes().all(|b| matches!(b, b'0' | b'.')) && digits.parse::<f64>().is_ok() {
            return Some(Self(0));
        }
        let micros = digits.parse::<Price>().ok()?.as_micros();
        (micros <= 100_000_000).then_some(Self(sign * micros))
    }

    fn to_text(&self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let digits = Price::from_micros(self.0.abs());
        digits.map_or_else(|| "0.00".to_owned(), |digits| format!("{sign}{digits}"))
    }
}

impl SettingValue for Price {
    const EXPECTED: &'static str = "a price above 0 in quotes, like \"64000.00\"";
    const SHAPE: Shape = Shape::Pattern("^[0-9]+(\\.[0-9]+)?$");

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// A file of prices. An empty name means no file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CsvFile(pub(crate) Option<PathBuf>);

impl SettingValue for CsvFile {
    const EXPECTED: &'static str = "a file of symbol,time,price, with a name that ends in .csv";
    const SHAPE: Shape = Shape::Pattern("^(|.+\\.[cC][sS][vV])$");

    fn from_text(text: &str) -> Option<Self> {
        let path = Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty());
        let is_csv =
            |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        path.as_ref().is_none_or(is_csv).then_some(Self(path))
    }

    fn to_text(&self) -> String {
        self.0.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

/// Symbol, first price, drift and volatility in per cent per year.
const INSTRUMENTS: [(&str, &str, i64, i64); 5] = [
    ("ACME", "120.00", 8, 45),
    ("BTC-USD", "64000.00", 20, 65),
    ("ETH-USD", "3200.00", 15, 80),
    ("EUR-USD", "1.0825", 0, 12),
    ("GOLD", "2350.00", 4, 18),
];

const AN_HOUR_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).unwrap();

impl MarketConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["market", name];
        let market = Self {
            source: reader.read(&key("source"), PriceSource::Simulation),
            seed: reader.read(&key("seed"), 1),
            tick_interval: reader.read(&key("tick_interval"), Span::from_secs(1)),
            speed: reader.read(&key("speed"), AN_HOUR_A_MINUTE),
            file: reader.read(&key("file"), CsvFile::default()),
            replay_speed: reader.read(&key("replay_speed"), NonZeroU32::MIN),
            // Last, because each instrument is a table of its own.
            instruments: Self::read_instruments(reader),
        };
        if market.source == PriceSource::Replay && market.file.0.is_none() {
            reader.refuse("market.source = \"replay\" needs a market.file".to_owned());
        }
        market
    }

    /// The built-in instruments, and those that were added.
    fn read_instruments(reader: &mut SettingReader) -> Vec<InstrumentConfig> {
        let mut names = reader.tables(&["market", "instruments"]);
        names.extend(INSTRUMENTS.iter().map(|(name, ..)| (*name).to_owned()));
        names.sort();
        names.dedup();
        let mut instruments = Vec::new();
        for name in names {
            match name.parse() {
                Ok(symbol) => instruments.push(InstrumentConfig::read(reader, symbol)),
                Err(e) => reader.refuse(format!("market.instruments.{}: {e}", quoted(&name))),
            }
        }
        instruments
    }
}

impl InstrumentConfig {
    fn read(reader: &mut SettingReader, symbol: Symbol) -> Self {
        let built_in = INSTRUMENTS.iter().find(|(name, ..)| *name == symbol.as_str());
        let &(_, price, drift, volatility) = built_in.unwrap_or(&INSTRUMENTS[0]);
        // Every built-in price parses.
        let price = price.parse().unwrap_or(Price::MIN);
        let table = symbol.clone();
        let key = |name| ["market", "instruments", table.as_str(), name];
        Self {
            price: reader.read(&key("price"), price),
            drift: reader.read(&key("drift"), Ratio::percent(drift)),
            volatility: reader.read(&key("volatility"), Ratio::percent(volatility)),
            symbol,
        }
    }
}
