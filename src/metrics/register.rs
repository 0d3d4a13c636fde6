//! From a catalogue entry to a registered family. Labelled families are created here once;
//! their children are resolved by the owner at start and kept.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use super::catalogue::{Family, Kind};

/// Upper bounds from 100 µs (a cached point select on the same host) to 120 s (the longest
/// queue timeout anybody should want), about two and a half to a step.
const BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0,
];

/// Registers families in one registry.
pub(super) struct Registrar<'a>(pub(super) &'a Registry);

impl Registrar<'_> {
    /// A counter without labels.
    pub(super) fn counter(&self, family: &Family) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(options(family, Kind::Counter))?)
    }

    /// A counter with labels.
    pub(super) fn counters(&self, family: &Family) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(options(family, Kind::Counter), family.labels)?)
    }

    /// A fractional counter with labels.
    pub(super) fn real_counters(&self, family: &Family) -> Result<CounterVec, prometheus::Error> {
        self.add(CounterVec::new(options(family, Kind::Counter), family.labels)?)
    }

    /// A whole-number gauge without labels.
    pub(super) fn gauge(&self, family: &Family) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(options(family, Kind::Gauge))?)
    }

    /// A whole-number gauge with labels.
    pub(super) fn gauges(&self, family: &Family) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(options(family, Kind::Gauge), family.labels)?)
    }

    /// A fractional gauge without labels.
    pub(super) fn real_gauge(&self, family: &Family) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::with_opts(options(family, Kind::Gauge))?)
    }

    /// A fractional gauge with labels.
    pub(super) fn real_gauges(&self, family: &Family) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(options(family, Kind::Gauge), family.labels)?)
    }

    /// A histogram of seconds without labels.
    pub(super) fn histogram(&self, family: &Family) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(histogram_options(family))?)
    }

    /// A histogram of seconds with labels.
    pub(super) fn histograms(&self, family: &Family) -> Result<HistogramVec, prometheus::Error> {
        self.add(HistogramVec::new(histogram_options(family), family.labels)?)
    }

    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

fn options(family: &Family, kind: Kind) -> Opts {
    debug_assert_eq!(family.kind, kind, "{} is registered as another kind", family.name);
    Opts::new(family.name, family.help)
}

fn histogram_options(family: &Family) -> HistogramOpts {
    HistogramOpts::from(options(family, Kind::Histogram)).buckets(BUCKETS.to_vec())
}
