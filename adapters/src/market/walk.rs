use std::time::Duration;

use doorstep_domain::{Price, Symbol};

/// An instrument with a simulated price.
#[derive(Debug, Clone, PartialEq)]
pub struct Instrument {
    /// Its symbol.
    pub symbol: Symbol,
    /// Its first price.
    pub start: Price,
    /// The expected growth in a year, as a logarithm: 0.05 is about five per cent.
    pub drift: f64,
    /// The standard deviation of the logarithm of a year's growth.
    pub volatility: f64,
}

/// The price of one instrument as a geometric Brownian motion: each step multiplies it by a factor whose logarithm
/// is normally distributed and independent of all others. Over a time `t` in years that logarithm has the mean
/// `(drift - volatility² / 2) t` and the variance `volatility² t` (Black and Scholes 1973).
///
/// The same seed gives the same prices, regardless of other instruments. (Exactly on one kind of machine;
/// logarithms and cosines may differ in the last bit between kinds.)
#[derive(Debug, Clone)]
pub struct Walk {
    /// In millionths, not rounded.
    price: f64,
    drift: f64,
    volatility: f64,
    dice: SplitMix,
    /// Prices are rounded to multiples of this many millionths.
    step: i64,
}

const YEAR: Duration = Duration::from_hours(365 * 24);

impl Walk {
    /// A walk that begins at the instrument's first price.
    pub fn new(instrument: &Instrument, seed: u64) -> Self {
        let start = instrument.start.as_micros();
        Self {
            price: to_float(start),
            drift: instrument.drift,
            volatility: instrument.volatility,
            dice: SplitMix::of(seed, &instrument.symbol),
            step: step(start),
        }
    }

    /// The price after this time.
    pub fn after(&mut self, time: Duration) -> Price {
        let years = time.as_secs_f64() / YEAR.as_secs_f64();
        let mean = (self.drift - self.volatility * self.volatility / 2.0) * years;
        let growth = mean + self.volatility * years.sqrt() * self.dice.normal();
        // Stays away from zero and from the largest price, so that it can always return.
        let (least, most) = (to_float(self.step), to_float(Price::MAX.as_micros()));
        self.price = (self.price * growth.exp()).clamp(least, most);
        self.shown()
    }

    /// Goes on from this price.
    pub fn go_on_from(&mut self, price: Price) {
        self.price = to_float(price.as_micros());
    }

    fn shown(&self) -> Price {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to what a price can be")]
        let steps = (self.price / to_float(self.step)).round() as i64;
        Price::from_micros(steps.saturating_mul(self.step)).unwrap_or(Price::MAX)
    }
}

/// The step of prices: hundredths if they begin at 10 or more, ten-thousandths from 0.1.
fn step(start: i64) -> i64 {
    match start {
        10_000_000.. => 10_000,
        100_000.. => 100,
        _ => 1,
    }
}

/// Prices are below 2^53 millionths, so nothing is lost.
#[expect(clippy::cast_precision_loss, reason = "prices are below 2^53 millionths")]
fn to_float(micros: i64) -> f64 {
    micros as f64
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). Implemented here
/// because a library may change its numbers between versions, and with them the prices of every seed.
#[derive(Debug, Clone)]
struct SplitMix(u64);

impl SplitMix {
    /// The generator for this seed and symbol.
    fn of(seed: u64, symbol: &Symbol) -> Self {
        let mut dice = Self(seed);
        for byte in symbol.as_str().bytes() {
            dice.0 ^= u64::from(byte);
            dice.0 = dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number above 0 and at most 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A normally distributed number with mean 0 and standard deviation 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(start: &str, drift: f64, volatility: f64) -> Instrument {
        let (symbol, start) = ("BTC-USD".parse().unwrap(), start.parse().unwrap());
        Instrument { symbol, start, drift, volatility }
    }

    fn prices(instrument: &Instrument, seed: u64) -> Vec<Price> {
        let mut walk = Walk::new(instrument, seed);
        (0..1000).map(|_| walk.after(Duration::from_mins(1))).collect()
    }

    #[test]
    fn a_seed_walks_its_own_way_again_and_again() {
        let bitcoin = instrument("64000", 0.1, 0.6);
        assert_eq!(prices(&bitcoin, 1), prices(&bitcoin, 1));
        assert_ne!(prices(&bitcoin, 1), prices(&bitcoin, 2));
        let other = Instrument { symbol: "ETH-USD".parse().unwrap(), ..bitcoin.clone() };
        assert_ne!(prices(&bitcoin, 1), prices(&other, 1));
    }

    #[test]
    fn growth_has_the_mean_and_the_deviation_it_was_given() {
        let (drift, volatility) = (0.2, 0.5);
        let start = instrument("1000000", drift, volatility);
        let growths: Vec<f64> = (0..20_000)
            .map(|seed| {
                let end = Walk::new(&start, seed).after(YEAR);
                (to_float(end.as_micros()) / to_float(start.start.as_micros())).ln()
            })
            .collect();
        let n = 20_000.0;
        let mean = growths.iter().sum::<f64>() / n;
        let variance = growths.iter().map(|growth| (growth - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - (drift - volatility * volatility / 2.0)).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() - volatility).abs() < 0.02, "{variance}");
    }

    #[test]
    fn prices_stay_prices_whatever_happens_and_are_rounded() {
        for (start, volatility) in [("0.000001", 50.0), ("1000000000", 50.0), ("64000", 1000.0)] {
            let mut walk = Walk::new(&instrument(start, 0.0, volatility), 3);
            for _ in 0..10_000 {
                walk.after(Duration::from_hours(24 * 30));
            }
        }
        let cents = prices(&instrument("64000", 0.1, 0.6), 1);
        assert!(cents.iter().all(|price| price.as_micros() % 10_000 == 0));
    }
}
