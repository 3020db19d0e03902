//! Prometheus' protobuf format, for scrapers that ask for it: the only one that carries native histograms. Classic
//! buckets are there, too, for whoever keeps them (`always_scrape_classic_histograms`).
//!
//! The messages are those of `io.prometheus.client`, of which only what is exposed here is written.

use super::super::protobuf::{Message, push_varint};
use super::Metrics;
use super::exposition::Exposition;
use super::native::{Native, SCHEMA, Span, ZERO_THRESHOLD};
use prometheus::core::Collector;
use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// The content type of [`Metrics::protobuf`].
pub const PROTOBUF_CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

impl Metrics {
    /// All series in Prometheus' delimited protobuf format, histograms both native and classic.
    pub fn protobuf(&self) -> Vec<u8> {
        let (mut families, natives) = self.recorded.expose(Exposition::with_natives()).into_parts();
        families.extend(self.process.collect());
        let mut bytes = Vec::new();
        for family in families {
            let natives = natives.get(family.name()).map_or(&[][..], Vec::as_slice);
            let message = family_message(&family, natives);
            push_varint(&mut bytes, message.0.len() as u64);
            bytes.extend(message.0);
        }
        bytes
    }
}

/// True when an `Accept` field likes protobuf at least as much as text.
pub fn prefers_protobuf(accept: &str) -> bool {
    let mut liking = (0.0, 0.0);
    for item in accept.split(',') {
        let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
        let kind = parts.next().unwrap_or_default();
        let parameters: Vec<String> = parts.collect();
        let has = |wanted: &str| parameters.iter().any(|parameter| parameter == wanted);
        let quality = parameters.iter().find_map(|parameter| parameter.strip_prefix("q="));
        let quality: f64 = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        match kind.as_str() {
            "application/vnd.google.protobuf"
                if has("proto=io.prometheus.client.metricfamily") && has("encoding=delimited") =>
            {
                liking.0 = quality;
            }
            "text/plain" => liking.1 = quality.max(liking.1),
            _ => {}
        }
    }
    liking.0 > 0.0 && liking.0 >= liking.1
}

fn family_message(family: &MetricFamily, natives: &[Native]) -> Message {
    let mut message = Message::default();
    message.text(1, family.name());
    message.text(2, family.help());
    let kind = family.get_field_type();
    message.unsigned(3, kind_number(kind));
    for (at, metric) in family.get_metric().iter().enumerate() {
        message.message(4, &metric_message(metric, kind, natives.get(at)));
    }
    message
}

fn kind_number(kind: MetricType) -> u64 {
    match kind {
        MetricType::COUNTER => 0,
        MetricType::GAUGE => 1,
        MetricType::SUMMARY => 2,
        MetricType::UNTYPED => 3,
        MetricType::HISTOGRAM => 4,
    }
}

fn metric_message(metric: &Metric, kind: MetricType, native: Option<&Native>) -> Message {
    let mut message = Message::default();
    for label in metric.get_label() {
        message.message(1, &label_message(label));
    }
    match kind {
        MetricType::HISTOGRAM => message.message(7, &histogram_message(metric.get_histogram(), native)),
        MetricType::COUNTER => message.message(3, &value_message(metric.get_counter().get_value())),
        // nothing else is exposed
        _ => message.message(2, &value_message(metric.get_gauge().get_value())),
    }
    message
}

fn label_message(label: &LabelPair) -> Message {
    let mut message = Message::default();
    message.text(1, label.name());
    message.text(2, label.value());
    message
}

fn value_message(value: f64) -> Message {
    let mut message = Message::default();
    message.double(1, value);
    message
}

fn histogram_message(histogram: &Histogram, native: Option<&Native>) -> Message {
    let mut message = Message::default();
    message.unsigned(1, histogram.get_sample_count());
    message.double(2, histogram.get_sample_sum());
    for bucket in histogram.get_bucket() {
        let mut classic = Message::default();
        classic.unsigned(1, bucket.cumulative_count());
        classic.double(2, bucket.upper_bound());
        message.message(3, &classic);
    }
    let Some(native) = native else { return message };
    message.signed(5, i64::from(SCHEMA));
    message.double(6, ZERO_THRESHOLD);
    message.unsigned(7, 0);
    for Span { offset, length } in native.spans() {
        let mut span = Message::default();
        span.signed(1, i64::from(offset));
        span.unsigned(2, u64::from(length));
        message.message(12, &span);
    }
    native.deltas().for_each(|delta| message.signed(13, delta));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_is_for_those_who_ask_for_it_first() {
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            (format!("{proto},text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), true),
            (format!("{proto};q=0.7, application/openmetrics-text; version=1.0.0; q=0.8, text/plain;q=0.5"), true),
            (proto.replace(';', "; "), true),
            (format!("text/plain;q=0.9,{proto};q=0.3"), false),
            (format!("{proto};q=0"), false),
            (format!("{proto};q=nonsense"), false),
            ("application/vnd.google.protobuf;encoding=text".to_owned(), false),
            ("text/plain".to_owned(), false),
            ("*/*".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(prefers_protobuf(&accept), expected, "{accept}");
        }
    }
}
