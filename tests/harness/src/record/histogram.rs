//! Durations as an HdrHistogram of three significant digits, from a microsecond to an hour. Pure.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::serialization::{Deserializer as Reader, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Counts of durations. In JSON it is HdrHistogram's V2 format (compressed, base64, microseconds), which the tools of
/// that family read.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// The longest duration that can be stored, in microseconds: an hour. A longer one counts as this.
const LONGEST: u64 = 3_600_000_000;
/// The number of significant decimal digits: a value is at most a thousandth too large.
const DIGITS: u8 = 3;

impl Default for Histogram {
    /// The range grows with the values: the full range would take 200 KB, and a comparison has thousands of histograms.
    #[expect(clippy::expect_used, reason = "a constant that HdrHistogram accepts")]
    fn default() -> Self {
        Self(hdrhistogram::Histogram::new(DIGITS).expect("three digits are possible"))
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // A histogram that was read from a file has only the range that it needed. This cannot fail: the range may
        // grow.
        self.0.auto(true);
        let _ = self.0.record(micros.clamp(1, LONGEST));
    }

    /// The number of entries.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the mean in seconds; 0 if there are no entries.
    pub fn mean(&self) -> f64 {
        self.0.mean() / 1e6
    }

    /// Returns the longest in seconds.
    pub fn max(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.max() as f64 / 1e6 }
    }

    /// Returns the seconds that `percent` of all entries do not exceed; 0 if there are none.
    pub fn percentile(&self, percent: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_percentile(percent) as f64 / 1e6 }
    }

    fn encode(&self) -> Result<String, String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(|error| error.to_string())?;
        Ok(BASE64.encode(bytes))
    }

    fn decode(text: &str) -> Result<Self, String> {
        let bytes = BASE64.decode(text).map_err(|error| error.to_string())?;
        Reader::new().deserialize(&mut bytes.as_slice()).map(Self).map_err(|error| error.to_string())
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode().map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::decode(&text).map_err(|error| D::Error::custom(format!("no histogram: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_is_read_back_as_written() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        let text = serde_json::to_string(&histogram).unwrap();
        assert!(text.starts_with("\"HISTFAAA"), "the family's cookie: {text}");
        let read: Histogram = serde_json::from_str(&text).unwrap();
        assert_eq!(read.count(), 1000);
        assert!((read.percentile(99.0) - 0.99).abs() < 0.002, "{}", read.percentile(99.0));
        assert!((read.max() - 1.0).abs() < 0.002);
        let mut more = read.clone();
        more.record(Duration::from_secs(7200));
        assert_eq!(more.count(), 1001);
        assert!((more.max() - 3600.0).abs() < 3600.0 * 0.002, "it grows, up to an hour: {}", more.max());
    }

    #[test]
    fn text_that_is_no_histogram_is_an_error() {
        for wrong in ["\"\"", "\"HISTFAAA\"", "\"not base64 !\"", "7"] {
            assert!(serde_json::from_str::<Histogram>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Histogram::default().percentile(99.0), 0.0);
    }
}
