//! What a host counts, for `/metrics`.
//!
//! Two sources: counters that the servers increment as they work, kept here for the life of
//! the process, and a snapshot of the node taken at each scrape. Both are written by
//! `prometheus-client` in the OpenMetrics form; the classic text form, which many scrapers
//! and linters still want, differs in a few lines and is made from it.

mod classic;
mod snapshot;

use std::fmt;
use std::time::{Duration, SystemTime};

use chord_net_quic::{Counters, HostStatus};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use classic::to_classic;
use snapshot::{saturate, snapshot};

/// `Content-Type` of the classic form.
pub const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// `Content-Type` of the OpenMetrics form.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the histograms in seconds: from a local answer to the last deadline.
const SECONDS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0,
];

/// Which server of the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Server {
    /// The binary client protocol.
    Tcp,
    /// REST, metrics, health.
    Http,
    /// The Chord service.
    Grpc,
}

impl Server {
    /// Its name in labels and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ByServer {
    server: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Refusal {
    server: &'static str,
    cause: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Request {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Call {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// What the servers count.
pub struct Metrics {
    registry: Registry,
    connections: Family<ByServer, Gauge>,
    accepted: Family<ByServer, Counter>,
    refused: Family<Refusal, Counter>,
    tcp_requests: Family<Request, Counter>,
    tcp_closed: Family<Cause, Counter>,
    tcp_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    http_requests: Family<Answer, Counter>,
    http_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    grpc_requests: Family<Call, Counter>,
    grpc_seconds: Family<Kind, Histogram, fn() -> Histogram>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("dht"),
            connections: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            tcp_requests: Family::default(),
            tcp_closed: Family::default(),
            tcp_seconds: Family::new_with_constructor(histogram),
            http_requests: Family::default(),
            http_seconds: Family::new_with_constructor(histogram),
            grpc_requests: Family::default(),
            grpc_seconds: Family::new_with_constructor(histogram),
        };
        let to = &mut all.registry;
        to.register(
            "connections",
            "Open connections of clients",
            all.connections.clone(),
        );
        to.register(
            "connections_accepted",
            "Connections of clients accepted",
            all.accepted.clone(),
        );
        to.register(
            "connections_refused",
            "Connections of clients closed at once",
            all.refused.clone(),
        );
        to.register(
            "tcp_requests",
            "Requests of the binary client protocol that ended",
            all.tcp_requests.clone(),
        );
        to.register(
            "tcp_closed",
            "Connections of the binary client protocol that ended",
            all.tcp_closed.clone(),
        );
        to.register(
            "tcp_request_seconds",
            "From acceptance of a request to its end",
            all.tcp_seconds.clone(),
        );
        to.register(
            "http_requests",
            "HTTP requests answered",
            all.http_requests.clone(),
        );
        to.register(
            "http_request_seconds",
            "From the head of a request to that of its answer",
            all.http_seconds.clone(),
        );
        to.register(
            "grpc_requests",
            "Calls of the Chord service that ended",
            all.grpc_requests.clone(),
        );
        to.register(
            "grpc_request_seconds",
            "From the head of a call to the end of its answer",
            all.grpc_seconds.clone(),
        );
        all
    }

    /// Counts a connection as open until the returned value is dropped.
    #[must_use]
    pub fn connected(&self, server: Server) -> Connected {
        let label = ByServer {
            server: server.name(),
        };
        self.accepted.get_or_create(&label).inc();
        let open = self.connections.get_or_create_owned(&label);
        open.inc();
        Connected { open }
    }

    /// A connection was closed before it was served.
    pub fn refused(&self, server: Server, cause: &'static str) {
        self.refused
            .get_or_create(&Refusal {
                server: server.name(),
                cause,
            })
            .inc();
    }

    /// A request of the binary protocol ended.
    pub fn tcp_request(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.tcp_requests
            .get_or_create(&Request { kind, result })
            .inc();
        self.tcp_seconds
            .get_or_create(&Kind { kind })
            .observe(took.as_secs_f64());
    }

    /// A connection of the binary protocol ended.
    pub fn tcp_closed(&self, cause: &'static str) {
        self.tcp_closed.get_or_create(&Cause { cause }).inc();
    }

    /// An HTTP request was answered.
    pub fn http_request(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        took: Duration,
    ) {
        self.http_requests
            .get_or_create(&Answer {
                route,
                method,
                status,
            })
            .inc();
        self.http_seconds
            .get_or_create(&Kind { kind: route })
            .observe(took.as_secs_f64());
    }

    /// A call of the Chord service ended.
    pub fn grpc_request(&self, method: &'static str, code: &'static str, took: Duration) {
        self.grpc_requests
            .get_or_create(&Call { method, code })
            .inc();
        self.grpc_seconds
            .get_or_create(&Kind { kind: method })
            .observe(took.as_secs_f64());
    }

    /// Everything as text: OpenMetrics, or the classic form. Without a status (the node is
    /// stopping) only what was counted.
    #[must_use]
    pub fn render(
        &self,
        counters: &Counters,
        status: Option<&HostStatus>,
        classic: bool,
    ) -> String {
        let mut text = String::new();
        let node = snapshot(counters, status);
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &node))
            .and_then(|()| encode_eof(&mut text));
        written.expect("writing to a string cannot fail");
        if classic { to_classic(&text) } else { text }
    }
}

/// An open connection: counted until dropped.
#[derive(Debug)]
pub struct Connected {
    open: Gauge,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Seconds until `moment`, negative once it has passed.
#[must_use]
pub fn signed_seconds_until(moment: SystemTime) -> i64 {
    match moment.duration_since(SystemTime::now()) {
        Ok(ahead) => saturate(ahead.as_secs()),
        Err(past) => -saturate(past.duration().as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_differ_between_the_forms_and_samples_do_not() {
        let metrics = Metrics::new();
        metrics.tcp_request("put", "ok", Duration::from_millis(3));
        metrics.tcp_closed("client");
        let open = metrics.render(&Counters::default(), None, false);
        let classic = metrics.render(&Counters::default(), None, true);

        let sample = "dht_tcp_requests_total{kind=\"put\",result=\"ok\"} 1\n";
        assert!(open.contains("# TYPE dht_tcp_requests counter\n"), "{open}");
        assert!(open.contains(sample) && open.ends_with("# EOF\n"), "{open}");
        assert!(
            classic.contains("# HELP dht_tcp_requests_total Requests"),
            "{classic}"
        );
        assert!(
            classic.contains("# TYPE dht_tcp_requests_total counter\n"),
            "{classic}"
        );
        assert!(
            classic.contains(sample) && !classic.contains("# EOF"),
            "{classic}"
        );
        assert!(
            classic.contains("dht_tcp_request_seconds_bucket{le=\"0.005\",kind=\"put\"} 1\n"),
            "{classic}"
        );
    }

    #[test]
    fn every_sample_of_the_classic_form_stands_below_its_own_head() {
        let metrics = Metrics::new();
        metrics.http_request("kv", "GET", 200, Duration::ZERO);
        let _open = metrics.connected(Server::Http);
        let classic = metrics.render(&Counters::default(), None, true);
        let mut current = String::new();
        for line in classic.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().expect("a name").to_owned();
            } else if !line.starts_with('#') {
                assert!(line.starts_with(&current), "{line} below {current}");
            }
        }
    }

    #[test]
    fn the_next_update_of_the_list_and_failed_reloads_are_there_to_alert_on() {
        let counters = Counters {
            reloads_failed: 2,
            crl_next_update: 1_900_000_000,
            ..Counters::default()
        };
        let classic = Metrics::new().render(&counters, None, true);
        for wanted in [
            "# TYPE dht_crl_next_update_timestamp_seconds gauge\n",
            "dht_crl_next_update_timestamp_seconds 1900000000\n",
            "# TYPE dht_reloads_failed_total counter\n",
            "dht_reloads_failed_total 2\n",
        ] {
            assert!(classic.contains(wanted), "{wanted}{classic}");
        }
    }

    #[test]
    fn a_connection_counts_until_it_is_dropped() {
        let metrics = Metrics::new();
        let open = metrics.connected(Server::Tcp);
        let shows = |wanted| {
            metrics
                .render(&Counters::default(), None, true)
                .contains(wanted)
        };
        assert!(shows("dht_connections{server=\"tcp\"} 1\n"));
        drop(open);
        assert!(shows("dht_connections{server=\"tcp\"} 0\n"));
        assert!(shows("dht_connections_accepted_total{server=\"tcp\"} 1\n"));
    }
}
