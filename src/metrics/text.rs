//! A reading as text: for Prometheus, for OpenMetrics, or as JSON.

use super::counts::{Reading, is_within};
use super::table::{FAMILIES, Family, Kind, Sample, Scope};
use serde_json::{Map, Value};
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4, which all scrapers of Prometheus read.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
    Json,
}

impl Format {
    /// The best of the formats that the value of an `Accept` header asks for (RFC 9110 §12.5.1). Ranges that
    /// name none of them, as those of browsers, get the format that everything reads.
    pub fn accepted(accept: &[u8]) -> Self {
        let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
        let mut best = (0, Format::Prometheus);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Format::OpenMetrics,
                Some("application/json") => Format::Json,
                Some("text/plain") => Format::Prometheus,
                _ => continue,
            };
            let weight = weight_of(parts);
            // Of several with the same weight the first one counts.
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Json => "application/json",
        }
    }
}

/// The weight among the parameters of a media range, in thousandths; what is no weight counts as none.
fn weight_of<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u32 {
    let weight = parameters.find_map(|parameter| parameter.strip_prefix("q="));
    let weight: f64 = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(1.0));
    (weight.clamp(0.0, 1.0) * 1000.0) as u32
}

pub fn render(format: Format, scope: Scope, reading: &Reading) -> String {
    match format {
        Format::Json => json(scope, reading).to_string(),
        Format::Prometheus | Format::OpenMetrics => text(format == Format::OpenMetrics, scope, reading),
    }
}

fn families(scope: Scope) -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().filter(move |family| is_within(scope, family.scope))
}

fn text(open: bool, scope: Scope, reading: &Reading) -> String {
    let mut out = String::with_capacity(16 << 10);
    for family in families(scope) {
        write_family(&mut out, open, family, reading);
    }
    if open {
        out.push_str("# EOF\n");
    }
    out
}

fn write_family(out: &mut String, open: bool, family: &Family, reading: &Reading) {
    let Family { name, kind, help, .. } = family;
    let (total, kind) = match kind {
        Kind::Counter => ("_total", "counter"),
        Kind::Gauge => ("", "gauge"),
    };
    // Only in OpenMetrics is the suffix of counters no part of the name of their family.
    let suffix = if open { "" } else { total };
    // Writing to a String does not fail.
    let _ = write!(out, "# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}\n");
    if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| open && name.ends_with(unit)) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    for Sample { metric, labels, .. } in family.samples {
        let _ = write!(out, "{name}{total}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(out, "{before}{label}=\"{value}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        match seconds(family, reading.get(*metric)) {
            Some(seconds) => _ = writeln!(out, "{end} {seconds}"),
            None => _ = writeln!(out, "{end} {}", reading.get(*metric)),
        }
    }
}

fn seconds(family: &Family, value: u64) -> Option<f64> {
    family.name.ends_with("_seconds").then_some(value as f64 / 1e9)
}

fn json(scope: Scope, reading: &Reading) -> Value {
    let mut all = Map::new();
    for family in families(scope) {
        for Sample { metric, path, .. } in family.samples {
            let value = reading.get(*metric);
            place(&mut all, path, seconds(family, value).map_or(Value::from(value), Value::from));
        }
    }
    Value::Object(all)
}

/// Puts a value into the object at its path, whose objects are made on the way.
fn place(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => _ = object.insert(path.to_owned(), value),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Metric;
    use super::*;

    fn reading() -> Reading {
        let mut reading = Reading::default();
        reading.add(Metric::Requests, 3);
        reading.add(Metric::Responses4xx, 2);
        reading.add(Metric::LoopBusy, 1_500_000_000);
        reading.add(Metric::Unsent, 7);
        reading
    }

    #[test]
    fn the_text_of_prometheus() {
        let text = render(Format::Prometheus, Scope::Process, &reading());
        let requests = "# HELP uws_http_requests_total Requests whose head was read and well-formed, upgrades \
             included.\n# TYPE uws_http_requests_total counter\nuws_http_requests_total 3\n";
        assert!(text.contains(requests), "{text}");
        assert!(text.contains("\nuws_http_responses_total{class=\"4xx\"} 2\n"));
        assert!(text.contains("\nuws_loop_busy_seconds_total 1.5\n"));
        assert!(text.contains("\n# TYPE uws_memory_bytes gauge\nuws_memory_bytes{purpose=\"unsent\"} 7\n"));
        assert!(text.contains("{transport=\"plain\",protocol=\"http\"} 0\n"));
        assert!(text.ends_with('\n') && !text.contains("EOF") && !text.contains("UNIT"));
    }

    #[test]
    fn the_text_of_openmetrics() {
        let text = render(Format::OpenMetrics, Scope::Process, &reading());
        assert!(text.contains("\n# TYPE uws_http_requests counter\nuws_http_requests_total 3\n"), "{text}");
        assert!(text.contains("\n# UNIT uws_loop_busy_seconds seconds\nuws_loop_busy_seconds_total 1.5\n"));
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn an_app_shows_its_own_alone() {
        let app = render(Format::Json, Scope::App, &reading());
        let process: Value = serde_json::from_str(&render(Format::Json, Scope::Process, &reading())).unwrap();
        let app: Value = serde_json::from_str(&app).unwrap();
        assert_eq!(app["http"]["requests"], 3);
        assert_eq!((&app["loop"], &app["memory"]), (&Value::Null, &Value::Null));
        assert_eq!((&process["http"], process["loop"]["busySeconds"].as_f64()), (&app["http"], Some(1.5)));
        assert!(!render(Format::Prometheus, Scope::App, &reading()).contains("uws_loop"));
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html, */*;q=0.8", Format::Prometheus),
            ("application/json", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("text/plain;q=0.5, application/json", Format::Json),
            ("application/json;q=0.5, text/plain", Format::Prometheus),
            ("application/json;q=0", Format::Prometheus),
            ("application/json;q=x", Format::Json),
            ("text/plain, application/json", Format::Prometheus),
            // As Prometheus 2 and 3 ask.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept.as_bytes()), format, "{accept}");
        }
    }
}
