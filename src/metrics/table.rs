//! All metrics, declared once. The names in the texts of Prometheus and the paths in the objects of
//! JavaScript come from here, and a test compares docs/observability.md.

/// Whose figures a reading has, or a metric is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of one app.
    App,
    /// Of all apps of the process, with those of the loops and of JavaScript.
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only increases.
    Counter,
    Gauge,
}

/// Metrics that differ by their labels alone.
pub struct Family {
    /// Without the `_total` of counters. One that ends in `_seconds` is counted in nanoseconds.
    pub name: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    /// Sentences, each with a space in front of it.
    pub help: &'static str,
    pub samples: &'static [Sample],
}

pub struct Sample {
    pub metric: Metric,
    /// The place of the value in JavaScript's object.
    pub path: &'static str,
    pub labels: &'static [(&'static str, &'static str)],
}

macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $scope:ident $kind:ident $name:literal {
            $($metric:ident $path:literal $([$($label:ident = $value:literal),+])?,)+
        }
    )+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $($($metric,)+)+
        }

        impl Metric {
            const ALL: &[Metric] = &[$($(Metric::$metric,)+)+];
            pub const COUNT: usize = Metric::ALL.len();
        }

        pub const FAMILIES: &[Family] = &[$(
            Family {
                name: $name,
                kind: Kind::$kind,
                scope: Scope::$scope,
                help: concat!($($help),+),
                samples: &[$(
                    Sample {
                        metric: Metric::$metric,
                        path: $path,
                        labels: &[$($((stringify!($label), $value),)+)?],
                    },
                )+],
            },
        )+];
    };
}

metrics! {
    /// Bytes read from sockets, those of TLS included.
    App Counter "uws_received_bytes" {
        BytesReceived "bytes.received",
    }
    /// Bytes that the kernel has taken for sending, those of TLS included.
    App Counter "uws_sent_bytes" {
        BytesSent "bytes.sent",
    }
    /// Requests whose head was read and well-formed, upgrades included.
    App Counter "uws_http_requests" {
        Requests "http.requests",
    }
    /// Responses whose head was handed over for sending, by the class of their status.
    App Counter "uws_http_responses" {
        Responses1xx "http.responses.informational" [class = "1xx"],
        Responses2xx "http.responses.success" [class = "2xx"],
        Responses3xx "http.responses.redirection" [class = "3xx"],
        Responses4xx "http.responses.clientError" [class = "4xx"],
        Responses5xx "http.responses.serverError" [class = "5xx"],
    }
    /// Requests of cached routes, by where their answer comes from: a stored reply that is fresh, or stale; a
    /// call of the handler; one for an earlier request; one for this client alone.
    App Counter "uws_cache_requests" {
        CacheHits "cache.hits" [result = "hit"],
        CacheStale "cache.stale" [result = "stale"],
        CacheMisses "cache.misses" [result = "miss"],
        CacheWaits "cache.waits" [result = "wait"],
        CacheAlone "cache.alone" [result = "alone"],
    }
    /// Replies of cached routes that were stored.
    App Counter "uws_cache_stored" {
        CacheStored "cache.stored",
    }
    /// Stored replies that went for others, or for the memory budget.
    App Counter "uws_cache_evicted" {
        CacheEvicted "cache.evicted",
    }
    /// Stored replies.
    App Gauge "uws_cache_entries" {
        CacheEntries "cache.entries",
    }
    /// Bytes of stored replies, with their keys and some 256 bytes for each.
    App Gauge "uws_cache_bytes" {
        CacheBytes "cache.bytes",
    }
    /// Messages that WebSockets received, before any handler.
    App Counter "uws_websocket_received_messages" {
        MessagesReceived "webSocket.messages.received",
    }
    /// Messages of ws.send() and its like that were handed over for sending; a fragmented one counts once.
    App Counter "uws_websocket_sent_messages" {
        MessagesSent "webSocket.messages.sent",
    }
    /// Messages that were dropped because of maxBackpressure: of ws.send(), or for a subscriber of a publish.
    App Counter "uws_websocket_dropped_messages" {
        SendsDropped "webSocket.messages.dropped.send" [of = "send"],
        DeliveriesDropped "webSocket.messages.dropped.publish" [of = "publish"],
    }
    /// Publishes of topics that had subscribers.
    App Counter "uws_websocket_publishes" {
        Publishes "webSocket.publishes",
    }
    /// Messages of publishes that were handed over for sending to a subscriber.
    App Counter "uws_websocket_deliveries" {
        Deliveries "webSocket.deliveries",
    }
    /// Connections that the app took over from its listeners or from another app.
    App Counter "uws_connections_accepted" {
        Accepted "connections.accepted",
    }
    /// Open connections. A connection is one of HTTP until it is upgraded.
    App Gauge "uws_connections" {
        PlainHttp "connections.plain.http" [transport = "plain", protocol = "http"],
        PlainWebSocket "connections.plain.webSocket" [transport = "plain", protocol = "websocket"],
        TlsHandshaking "connections.tls.handshaking" [transport = "tls", protocol = "handshake"],
        TlsHttp "connections.tls.http" [transport = "tls", protocol = "http"],
        TlsWebSocket "connections.tls.webSocket" [transport = "tls", protocol = "websocket"],
    }
    /// Connections that became WebSockets.
    App Counter "uws_websocket_upgrades" {
        Upgrades "webSocket.upgrades",
    }
    /// Requests that could not be understood or were refused, and what was wrong with them.
    App Counter "uws_http_errors" {
        BadRequest "http.errors.badRequest" [error = "bad_request"],
        HeaderFieldsTooLarge "http.errors.headerFieldsTooLarge" [error = "header_fields_too_large"],
        LateRequest "http.errors.requestTimeout" [error = "request_timeout"],
        ContentTooLarge "http.errors.contentTooLarge" [error = "content_too_large"],
        Unavailable "http.errors.unavailable" [error = "unavailable"],
        VersionNotSupported "http.errors.versionNotSupported" [error = "version_not_supported"],
        BadProxyHeader "http.errors.badProxyHeader" [error = "bad_proxy_header"],
    }
    /// WebSockets that were closed because of what they sent.
    App Counter "uws_websocket_errors" {
        InvalidFrame "webSocket.errors.invalidFrame" [error = "invalid_frame"],
        TooBigMessage "webSocket.errors.tooBigMessage" [error = "too_big_message"],
        InvalidUtf8 "webSocket.errors.invalidUtf8" [error = "invalid_utf8"],
        InvalidClosePayload "webSocket.errors.invalidClosePayload" [error = "invalid_close_payload"],
        InvalidCloseReason "webSocket.errors.invalidCloseReason" [error = "invalid_close_reason"],
        TooBigInflation "webSocket.errors.tooBigInflation" [error = "too_big_inflation"],
        InvalidDeflate "webSocket.errors.invalidDeflate" [error = "invalid_deflate"],
    }
    /// Connections that ran into a timeout.
    App Counter "uws_timeouts" {
        HandshakeTimeout "timeouts.handshake" [kind = "handshake"],
        RequestTimeout "timeouts.request" [kind = "request"],
        BodyTimeout "timeouts.body" [kind = "body"],
        ResponseTimeout "timeouts.response" [kind = "response"],
        KeepAliveTimeout "timeouts.keepAlive" [kind = "keep_alive"],
        IdleTimeout "timeouts.webSocketIdle" [kind = "websocket_idle"],
        LifetimeTimeout "timeouts.webSocketLifetime" [kind = "websocket_lifetime"],
        EndTimeout "timeouts.end" [kind = "end"],
    }
    /// Breaches of limits, each with the consequence that belongs to the limit.
    App Counter "uws_limit_breaches" {
        DescriptorLimit "limits.descriptors" [limit = "descriptors"],
        ConnectionLimit "limits.connections" [limit = "connections"],
        BackpressureLimit "limits.backpressure" [limit = "backpressure"],
        MemoryLimit "limits.memoryBudget" [limit = "memory_budget"],
        MaxConnections "limits.maxConnections" [limit = "max_connections"],
        MaxConnectionsPerAddress "limits.maxConnectionsPerAddress" [limit = "max_connections_per_address"],
        MaxRequestsPerAddress "limits.maxRequestsPerAddress" [limit = "max_requests_per_address"],
        MaxUpgradesPerAddress "limits.maxUpgradesPerAddress" [limit = "max_upgrades_per_address"],
        HeadTimeout "limits.headTimeout" [limit = "head_timeout"],
        WholeRequestTimeout "limits.requestTimeout" [limit = "request_timeout"],
        KeptTooLong "limits.keepAliveTimeout" [limit = "keep_alive_timeout"],
        MinBodyRate "limits.minBodyRate" [limit = "min_body_rate"],
        MaxBodyLength "limits.maxBodyLength" [limit = "max_body_length"],
        MaxRequestsPerConnection "limits.maxRequestsPerConnection" [limit = "max_requests_per_connection"],
        MaxUnsentBytes "limits.maxUnsentBytes" [limit = "max_unsent_bytes"],
        MaxTopicsPerConnection "limits.maxTopicsPerConnection" [limit = "max_topics_per_connection"],
        MaxTopicLength "limits.maxTopicLength" [limit = "max_topic_length"],
        MaxSubscriptions "limits.maxSubscriptions" [limit = "max_subscriptions"],
    }
    /// TLS handshakes that were completed.
    App Counter "uws_tls_handshakes" {
        Handshakes "tls.handshakes",
    }
    /// TLS handshakes that did not come about, by the alert that ended them, or by another reason.
    App Counter "uws_tls_handshake_failures" {
        NoTls "tls.failures.noTls" [reason = "no_tls", alert = ""],
        HandshakeTimedOut "tls.failures.timeout" [reason = "timeout", alert = ""],
        HandshakeAbandoned "tls.failures.abandoned" [reason = "abandoned", alert = ""],
        SentCloseNotify "tls.failures.alertSent.closeNotify" [reason = "alert_sent", alert = "close_notify"],
        SentUnexpectedMessage "tls.failures.alertSent.unexpectedMessage" [reason = "alert_sent", alert = "unexpected_message"],
        SentBadRecordMac "tls.failures.alertSent.badRecordMac" [reason = "alert_sent", alert = "bad_record_mac"],
        SentRecordOverflow "tls.failures.alertSent.recordOverflow" [reason = "alert_sent", alert = "record_overflow"],
        SentHandshakeFailure "tls.failures.alertSent.handshakeFailure" [reason = "alert_sent", alert = "handshake_failure"],
        SentBadCertificate "tls.failures.alertSent.badCertificate" [reason = "alert_sent", alert = "bad_certificate"],
        SentUnsupportedCertificate "tls.failures.alertSent.unsupportedCertificate" [reason = "alert_sent", alert = "unsupported_certificate"],
        SentCertificateRevoked "tls.failures.alertSent.certificateRevoked" [reason = "alert_sent", alert = "certificate_revoked"],
        SentCertificateExpired "tls.failures.alertSent.certificateExpired" [reason = "alert_sent", alert = "certificate_expired"],
        SentCertificateUnknown "tls.failures.alertSent.certificateUnknown" [reason = "alert_sent", alert = "certificate_unknown"],
        SentIllegalParameter "tls.failures.alertSent.illegalParameter" [reason = "alert_sent", alert = "illegal_parameter"],
        SentUnknownCa "tls.failures.alertSent.unknownCa" [reason = "alert_sent", alert = "unknown_ca"],
        SentAccessDenied "tls.failures.alertSent.accessDenied" [reason = "alert_sent", alert = "access_denied"],
        SentDecodeError "tls.failures.alertSent.decodeError" [reason = "alert_sent", alert = "decode_error"],
        SentDecryptError "tls.failures.alertSent.decryptError" [reason = "alert_sent", alert = "decrypt_error"],
        SentProtocolVersion "tls.failures.alertSent.protocolVersion" [reason = "alert_sent", alert = "protocol_version"],
        SentInsufficientSecurity "tls.failures.alertSent.insufficientSecurity" [reason = "alert_sent", alert = "insufficient_security"],
        SentInternalError "tls.failures.alertSent.internalError" [reason = "alert_sent", alert = "internal_error"],
        SentInappropriateFallback "tls.failures.alertSent.inappropriateFallback" [reason = "alert_sent", alert = "inappropriate_fallback"],
        SentUserCanceled "tls.failures.alertSent.userCanceled" [reason = "alert_sent", alert = "user_canceled"],
        SentMissingExtension "tls.failures.alertSent.missingExtension" [reason = "alert_sent", alert = "missing_extension"],
        SentUnsupportedExtension "tls.failures.alertSent.unsupportedExtension" [reason = "alert_sent", alert = "unsupported_extension"],
        SentUnrecognizedName "tls.failures.alertSent.unrecognizedName" [reason = "alert_sent", alert = "unrecognized_name"],
        SentCertificateRequired "tls.failures.alertSent.certificateRequired" [reason = "alert_sent", alert = "certificate_required"],
        SentNoApplicationProtocol "tls.failures.alertSent.noApplicationProtocol" [reason = "alert_sent", alert = "no_application_protocol"],
        SentOtherAlert "tls.failures.alertSent.other" [reason = "alert_sent", alert = "other"],
        ReceivedCloseNotify "tls.failures.alertReceived.closeNotify" [reason = "alert_received", alert = "close_notify"],
        ReceivedUnexpectedMessage "tls.failures.alertReceived.unexpectedMessage" [reason = "alert_received", alert = "unexpected_message"],
        ReceivedBadRecordMac "tls.failures.alertReceived.badRecordMac" [reason = "alert_received", alert = "bad_record_mac"],
        ReceivedRecordOverflow "tls.failures.alertReceived.recordOverflow" [reason = "alert_received", alert = "record_overflow"],
        ReceivedHandshakeFailure "tls.failures.alertReceived.handshakeFailure" [reason = "alert_received", alert = "handshake_failure"],
        ReceivedBadCertificate "tls.failures.alertReceived.badCertificate" [reason = "alert_received", alert = "bad_certificate"],
        ReceivedUnsupportedCertificate "tls.failures.alertReceived.unsupportedCertificate" [reason = "alert_received", alert = "unsupported_certificate"],
        ReceivedCertificateRevoked "tls.failures.alertReceived.certificateRevoked" [reason = "alert_received", alert = "certificate_revoked"],
        ReceivedCertificateExpired "tls.failures.alertReceived.certificateExpired" [reason = "alert_received", alert = "certificate_expired"],
        ReceivedCertificateUnknown "tls.failures.alertReceived.certificateUnknown" [reason = "alert_received", alert = "certificate_unknown"],
        ReceivedIllegalParameter "tls.failures.alertReceived.illegalParameter" [reason = "alert_received", alert = "illegal_parameter"],
        ReceivedUnknownCa "tls.failures.alertReceived.unknownCa" [reason = "alert_received", alert = "unknown_ca"],
        ReceivedAccessDenied "tls.failures.alertReceived.accessDenied" [reason = "alert_received", alert = "access_denied"],
        ReceivedDecodeError "tls.failures.alertReceived.decodeError" [reason = "alert_received", alert = "decode_error"],
        ReceivedDecryptError "tls.failures.alertReceived.decryptError" [reason = "alert_received", alert = "decrypt_error"],
        ReceivedProtocolVersion "tls.failures.alertReceived.protocolVersion" [reason = "alert_received", alert = "protocol_version"],
        ReceivedInsufficientSecurity "tls.failures.alertReceived.insufficientSecurity" [reason = "alert_received", alert = "insufficient_security"],
        ReceivedInternalError "tls.failures.alertReceived.internalError" [reason = "alert_received", alert = "internal_error"],
        ReceivedInappropriateFallback "tls.failures.alertReceived.inappropriateFallback" [reason = "alert_received", alert = "inappropriate_fallback"],
        ReceivedUserCanceled "tls.failures.alertReceived.userCanceled" [reason = "alert_received", alert = "user_canceled"],
        ReceivedMissingExtension "tls.failures.alertReceived.missingExtension" [reason = "alert_received", alert = "missing_extension"],
        ReceivedUnsupportedExtension "tls.failures.alertReceived.unsupportedExtension" [reason = "alert_received", alert = "unsupported_extension"],
        ReceivedUnrecognizedName "tls.failures.alertReceived.unrecognizedName" [reason = "alert_received", alert = "unrecognized_name"],
        ReceivedCertificateRequired "tls.failures.alertReceived.certificateRequired" [reason = "alert_received", alert = "certificate_required"],
        ReceivedNoApplicationProtocol "tls.failures.alertReceived.noApplicationProtocol" [reason = "alert_received", alert = "no_application_protocol"],
        ReceivedOtherAlert "tls.failures.alertReceived.other" [reason = "alert_received", alert = "other"],
    }
    /// Loops, one for each thread that made an App.
    Process Gauge "uws_loops" {
        Loops "loop.count",
    }
    /// Turns of the loops.
    Process Counter "uws_loop_turns" {
        Turns "loop.turns",
    }
    /// Time in which the loops worked; the rest they slept.
    Process Counter "uws_loop_busy_seconds" {
        LoopBusy "loop.busySeconds",
    }
    /// Processor time of the threads of the loops; 0 on macOS.
    Process Counter "uws_loop_processor_seconds" {
        LoopProcessor "loop.processorSeconds",
    }
    /// The longest turn of a loop in the last 15 to 30 s: so long a ready socket waited for the loop.
    Process Gauge "uws_loop_lag_seconds" {
        LoopLag "loop.lagSeconds",
    }
    /// Events that JavaScript has taken from the loops.
    Process Counter "uws_javascript_events" {
        EventsTaken "javaScript.events",
    }
    /// Processor time of the threads of JavaScript that made an App, since they began; 0 on macOS.
    Process Counter "uws_javascript_processor_seconds" {
        JavaScriptProcessor "javaScript.processorSeconds",
    }
    /// The longest that events waited for JavaScript in the last 15 to 30 s, or wait now.
    Process Gauge "uws_javascript_lag_seconds" {
        JavaScriptLag "javaScript.lagSeconds",
    }
    /// Events that wait for JavaScript. From 2048 of a loop on its sockets are not read.
    Process Gauge "uws_queued_events" {
        QueuedEvents "queues.events",
    }
    /// Batches of commands that wait for the loops.
    Process Gauge "uws_queued_command_batches" {
        QueuedCommands "queues.commandBatches",
    }
    /// Memory by its purpose.
    Process Gauge "uws_memory_bytes" {
        Unsent "memory.unsent" [purpose = "unsent"],
        EventBytes "memory.events" [purpose = "events"],
        DroppedBytes "memory.dropped" [purpose = "dropped"],
        CommandBytes "memory.commands" [purpose = "commands"],
        ParkedBytes "memory.parked" [purpose = "parked"],
        CollectedBytes "memory.collected" [purpose = "collected"],
        SpareBytes "memory.spare" [purpose = "spare"],
        PoolBytes "memory.pool" [purpose = "pool"],
    }
}

/// The family of the breaches of limits.
const LIMITS: &str = "uws_limit_breaches";

/// The alerts that have a metric of their own, in the order of the metrics (RFC 8446 §6); one more follows
/// for all others.
const ALERTS: [u8; 25] =
    [0, 10, 20, 22, 40, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 70, 71, 80, 86, 90, 109, 110, 112, 116, 120];

impl Metric {
    /// A handshake that ended with an alert of this side.
    pub fn alert_sent(alert: u8) -> Metric {
        Metric::of_alert(Metric::SentCloseNotify, alert)
    }

    /// A handshake that ended with an alert of the peer.
    pub fn alert_received(alert: u8) -> Metric {
        Metric::of_alert(Metric::ReceivedCloseNotify, alert)
    }

    fn of_alert(first: Metric, alert: u8) -> Metric {
        let place = ALERTS.iter().position(|known| *known == alert).unwrap_or(ALERTS.len());
        Metric::ALL[first as usize + place]
    }

    /// The breaches of limits, with the names of these.
    pub fn limits() -> impl Iterator<Item = (Metric, &'static str)> {
        let family = FAMILIES.iter().find(|family| family.name == LIMITS);
        let samples = family.map_or(&[][..], |family| family.samples);
        samples.iter().map(|Sample { metric, path, .. }| (*metric, path.rsplit('.').next().unwrap_or(path)))
    }

    /// Responses of the class of a status.
    pub fn responses(status: &[u8]) -> Metric {
        match status.first() {
            Some(b'1') => Metric::Responses1xx,
            Some(b'3') => Metric::Responses3xx,
            Some(b'4') => Metric::Responses4xx,
            Some(b'5') => Metric::Responses5xx,
            // An empty status stands for 200.
            _ => Metric::Responses2xx,
        }
    }

    /// Failures of handshakes, without those that the client abandoned.
    pub fn failed_handshakes() -> impl Iterator<Item = Metric> {
        let all = &Metric::ALL[Metric::NoTls as usize..=Metric::ReceivedOtherAlert as usize];
        all.iter().copied().filter(|metric| *metric != Metric::HandshakeAbandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn samples() -> impl Iterator<Item = &'static Sample> {
        FAMILIES.iter().flat_map(|family| family.samples)
    }

    #[test]
    fn every_metric_has_one_name_and_one_path() {
        let indices: Vec<_> = samples().map(|sample| sample.metric as usize).collect();
        assert_eq!(indices, (0..Metric::COUNT).collect::<Vec<_>>());
        let paths: BTreeSet<_> = samples().map(|sample| sample.path).collect();
        assert_eq!(paths.len(), Metric::COUNT);
        for path in &paths {
            let inside = format!("{path}.");
            assert!(!paths.iter().any(|other| other.starts_with(&inside)), "{path} is a value and an object");
        }
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len());
        for family in FAMILIES {
            let labels: BTreeSet<_> = family.samples.iter().map(|sample| sample.labels).collect();
            assert_eq!(labels.len(), family.samples.len(), "{}", family.name);
        }
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for Family { name, help, .. } in FAMILIES {
            assert!(name.starts_with("uws_") && !name.ends_with("_total"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(help.starts_with(' ') && help.ends_with('.'), "{name}: {help}");
        }
    }

    #[test]
    fn alerts_have_metrics_of_their_names() {
        assert_eq!(Metric::alert_sent(0), Metric::SentCloseNotify);
        assert_eq!(Metric::alert_sent(120), Metric::SentNoApplicationProtocol);
        assert_eq!(Metric::alert_sent(7), Metric::SentOtherAlert);
        assert_eq!(Metric::alert_received(48), Metric::ReceivedUnknownCa);
        assert_eq!(Metric::alert_received(255), Metric::ReceivedOtherAlert);
        for (alert, name) in ALERTS.iter().zip(["CloseNotify", "UnexpectedMessage", "BadRecordMac"]) {
            assert_eq!(format!("{:?}", Metric::alert_sent(*alert)), format!("Sent{name}"));
        }
    }

    #[test]
    fn limits_have_names() {
        let names: Vec<_> = Metric::limits().map(|(_, name)| name).collect();
        assert_eq!(names[..3], ["descriptors", "connections", "backpressure"]);
    }

    #[test]
    fn statuses_have_classes() {
        for (status, metric) in [
            (&b""[..], Metric::Responses2xx),
            (b"204", Metric::Responses2xx),
            (b"101 Switching Protocols", Metric::Responses1xx),
            (b"304", Metric::Responses3xx),
            (b"404 x", Metric::Responses4xx),
            (b"503", Metric::Responses5xx),
        ] {
            assert_eq!(Metric::responses(status), metric);
        }
    }
}
