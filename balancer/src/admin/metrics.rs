//! The metrics: each scrape reads our atomics.

mod master;
mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::context::Source;
use crate::stats::HistogramSnapshot;
use crate::stats::catalog::{self, Kind};

/// Turns the counters into metric families. Every metric of the catalogue exists from the start.
pub(super) struct MetricsCollector {
    source: Arc<Source>,
    descriptions: Vec<Desc>,
}

impl MetricsCollector {
    /// # Errors
    ///
    /// If Prometheus refuses a name or label of the catalogue; a test keeps that from happening.
    pub(super) fn new(source: Arc<Source>) -> Result<Self, prometheus::Error> {
        let describe = |metric: &catalog::Metric| {
            let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, Default::default())
        };
        let descriptions = catalog::ALL.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { source, descriptions })
    }
}

impl prometheus::core::Collector for MetricsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut scrape = Scrape::default();
        master::collect(&self.source, &mut scrape);
        let sample = self.source.sampler.look(&self.source.pools);
        for (index, pool) in self.source.pools.iter().enumerate() {
            pool::collect(&self.source, index, pool, &sample, &mut scrape);
        }
        scrape.0.into_values().collect()
    }
}

/// The families of one scrape, by name.
#[derive(Default)]
struct Scrape(BTreeMap<&'static str, MetricFamily>);

impl Scrape {
    /// Adds a sample of a counter or a gauge, with its labels' values in the catalogue's order.
    fn set(&mut self, metric: &catalog::Metric, labels: &[&str], value: f64) {
        let mut sample = Metric::from_label(label_pairs(metric, labels));
        match metric.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
        }
        self.push(metric, sample);
    }

    /// Adds a sample of a counter or a gauge that counts whole things.
    fn count(&mut self, metric: &catalog::Metric, labels: &[&str], value: u64) {
        self.set(metric, labels, value as f64);
    }

    /// Adds a histogram.
    fn histogram(&mut self, metric: &catalog::Metric, labels: &[&str], seen: &HistogramSnapshot) {
        let bucket = |&(bound, count): &(f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(seen.cumulative.iter().map(bucket).collect());
        histogram.set_sample_count(seen.count);
        histogram.set_sample_sum(seen.sum);
        let mut sample = Metric::from_label(label_pairs(metric, labels));
        sample.set_histogram(histogram);
        self.push(metric, sample);
    }

    fn push(&mut self, metric: &catalog::Metric, sample: Metric) {
        let family = self.0.entry(metric.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram(_) => MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric().push(sample);
    }
}

fn label_pairs(metric: &catalog::Metric, values: &[&str]) -> Vec<LabelPair> {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}
