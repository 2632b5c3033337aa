//! `ssl_ciphers`: turns OpenSSL's cipher lists, or names of the IANA registry, into suites of rustls.
//!
//! Lists have the form that `openssl ciphers` documents: names, aliases joined by `+`, the signs `!`, `-` and
//! `+`. A name that OpenSSL knows and rustls has no suite for (CBC, DHE, RSA key exchange) selects nothing,
//! so that common lists keep working; an unknown name is an error. As in OpenSSL, a list without TLS 1.3
//! names does not restrict TLS 1.3.

use super::error::ConfigError;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite and its names in lists.
struct Known {
    suite: SupportedCipherSuite,
    openssl: &'static str,
    iana: &'static str,
    /// The aliases it belongs to.
    aliases: &'static [&'static str],
}

static TLS12: [Known; 6] = [
    Known {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        openssl: "ECDHE-ECDSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        aliases: &["ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Known {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        aliases: &["ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Known {
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        aliases: &["ECDSA", "CHACHA20", "SHA256"],
    },
    Known {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        openssl: "ECDHE-RSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        aliases: &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Known {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        openssl: "ECDHE-RSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        aliases: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Known {
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        aliases: &["aRSA", "CHACHA20", "SHA256"],
    },
];

static TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Aliases that every suite here belongs to.
const EVERY: [&str; 11] =
    ["ALL", "DEFAULT", "HIGH", "SECURE", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "TLSv1.2", "FIPS"];

/// Aliases of suites that rustls does not have.
const NONE: [&str; 58] = [
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "MEDIUM",
    "LOW",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "eNULL",
    "NULL",
    "aNULL",
    "kRSA",
    "RSA",
    "kDHE",
    "kEDH",
    "DH",
    "DHE",
    "EDH",
    "ADH",
    "AECDH",
    "kDHr",
    "kDHd",
    "kDH",
    "aDH",
    "kECDHr",
    "kECDHe",
    "kECDH",
    "aECDH",
    "DSS",
    "aDSS",
    "3DES",
    "DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "MD5",
    "SHA",
    "SHA1",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "AESCCM",
    "AESCCM8",
    "PSK",
    "kPSK",
    "aPSK",
    "kECDHEPSK",
    "kDHEPSK",
    "kRSAPSK",
    "SRP",
    "GOST",
];

/// Parts of the names of OpenSSL's suites. A name made only of these is valid, although rustls has no such
/// suite.
const PARTS: [&str; 44] = [
    "ECDHE",
    "ECDH",
    "DHE",
    "EDH",
    "DH",
    "ADH",
    "AECDH",
    "ECDSA",
    "RSA",
    "DSS",
    "PSK",
    "SRP",
    "AES128",
    "AES256",
    "GCM",
    "CCM",
    "CCM8",
    "CBC",
    "CBC3",
    "SHA",
    "SHA256",
    "SHA384",
    "MD5",
    "CHACHA20",
    "POLY1305",
    "CAMELLIA128",
    "CAMELLIA256",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "NULL",
    "EXP",
    "TLS",
    "WITH",
    "AES",
    "128",
    "256",
    "3DES",
    "EDE",
];

/// The suites a list selects, in its order.
pub fn parse(list: &str) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    let mut selection = Selection::default();
    let words = list.split([':', ',', ' ', ';']).filter(|word| !word.is_empty());
    for word in words {
        selection.apply(word)?;
    }
    let tls13: Vec<_> = match selection.tls13.is_empty() {
        true => TLS13.iter().map(|(_, suite)| *suite).collect(),
        false => selection.tls13,
    };
    let tls12 = selection.chosen.iter().map(|known| known.suite);
    if selection.chosen.is_empty() && !selection.only_tls13 {
        return Err(ConfigError::NoCipher(list.to_owned()));
    }
    Ok(tls13.into_iter().chain(tls12).collect())
}

/// Puts AES-128-GCM first. It is as safe as anybody needs. AES-256 takes more time for each byte, and its
/// SHA-384 much more for each handshake, because processors have instructions for SHA-256 only. Go's servers
/// have the same order.
pub fn prefer_aes_128(suites: &mut [SupportedCipherSuite]) {
    const FIRST: [CipherSuite; 3] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
}

#[derive(Default)]
struct Selection {
    chosen: Vec<&'static Known>,
    banned: Vec<CipherSuite>,
    tls13: Vec<SupportedCipherSuite>,
    /// Nothing but TLS 1.3 names has been seen.
    only_tls13: bool,
}

impl Selection {
    fn apply(&mut self, word: &str) -> Result<(), ConfigError> {
        if word.starts_with("@STRENGTH") || word.starts_with("@SECLEVEL=") {
            return Ok(());
        }
        let (sign, name) = match word.strip_prefix(['!', '-', '+']) {
            Some(name) => (word.chars().next(), name),
            None => (None, word),
        };
        if let Some((_, suite)) = TLS13.iter().find(|(known, _)| *known == name) {
            self.only_tls13 |= self.tls13.is_empty() && self.chosen.is_empty();
            self.tls13.retain(|chosen| chosen != suite);
            if sign.is_none() {
                self.tls13.push(*suite);
            }
            return Ok(());
        }
        let matching = matching(name)?;
        let is_match = |known: &&'static Known| matching.iter().any(|m| m.suite == known.suite);
        match sign {
            Some('+') => {
                let (moved, kept): (Vec<_>, Vec<_>) = self.chosen.iter().copied().partition(is_match);
                self.chosen = kept.into_iter().chain(moved).collect();
            }
            Some(sign) => {
                self.chosen.retain(|known| !is_match(known));
                if sign == '!' {
                    self.banned.extend(matching.iter().map(|known| known.suite.suite()));
                }
            }
            None => {
                self.only_tls13 = false;
                for known in matching {
                    let banned = self.banned.contains(&known.suite.suite());
                    if !banned && !self.chosen.iter().any(|c| c.suite == known.suite) {
                        self.chosen.push(known);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The suites a name, or aliases joined by `+`, stand for.
fn matching(name: &str) -> Result<Vec<&'static Known>, ConfigError> {
    let mut all: Vec<&'static Known> = TLS12.iter().collect();
    for part in name.split('+') {
        if let Some(known) = TLS12.iter().find(|known| known.openssl == part || known.iana == part) {
            all.retain(|one| one.suite == known.suite);
        } else if !EVERY.contains(&part) {
            let alias = if part == "aECDSA" { "ECDSA" } else { part };
            all.retain(|one| one.aliases.contains(&alias));
            if all.is_empty() && !is_known(alias) {
                return Err(ConfigError::UnknownCipher(part.to_owned()));
            }
        }
    }
    Ok(all)
}

fn is_known(name: &str) -> bool {
    let is_alias = NONE.contains(&name) || TLS12.iter().any(|known| known.aliases.contains(&name));
    let mut parts = name.split(['-', '_']);
    is_alias || (name.contains(['-', '_']) && parts.all(|part| PARTS.contains(&part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        let suites = parse(list).unwrap_or_else(|error| panic!("{list}: {error}"));
        suites.iter().map(|suite| format!("{:?}", suite.suite())).collect()
    }

    fn tls12(list: &str) -> Vec<String> {
        names(list).into_iter().filter(|name| name.starts_with("TLS_")).map(|n| n[4..].to_owned()).collect()
    }

    #[test]
    fn names_of_both_registries_select_in_the_order_given() {
        let expected = ["ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"];
        for list in [
            "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ] {
            assert_eq!(tls12(list), expected, "{list}");
            assert_eq!(names(list).len(), 5, "{list}: TLS 1.3 stays whole");
        }
    }

    #[test]
    fn suites_of_openssl_that_rustls_lacks_are_passed_over() {
        let list = "ECDHE-ECDSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256:AES128-SHA:\
                    DES-CBC3-SHA:ECDHE-ECDSA-AES256-CCM8:PSK-NULL-SHA:TLS_RSA_WITH_AES_128_CBC_SHA";
        assert_eq!(tls12(list), ["ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn aliases_and_signs_work_as_in_openssl() {
        assert_eq!(tls12("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(tls12("EECDH+AESGCM:EDH+AESGCM").len(), 4);
        assert_eq!(tls12("EECDH+CHACHA20:@STRENGTH").len(), 2);
        assert_eq!(
            tls12("ALL:!ECDSA:!AES256:+AESGCM"),
            ["ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        );
        assert_eq!(tls12("!AESGCM:ALL").len(), 2, "banned for good");
        assert_eq!(tls12("ALL:-AESGCM:ALL").len(), 6, "taken out and put back");
    }

    #[test]
    fn tls_1_3_names_restrict_tls_1_3() {
        assert_eq!(names("TLS_AES_128_GCM_SHA256"), ["TLS13_AES_128_GCM_SHA256"]);
        let both = names("TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(both, ["TLS13_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn unknown_names_and_empty_selections_are_errors() {
        for list in
            ["NOPE", "HIGH:ECDHE-RSA-AES129-GCM-SHA256", "ECDHE+NOPE", "TLS_AES_512_GCM_SHA1", "!NOPE:ALL"]
        {
            assert!(matches!(parse(list), Err(ConfigError::UnknownCipher(_))), "{list}");
        }
        for list in ["AES128-SHA", "RC4", "ALL:!ALL", ":"] {
            assert!(matches!(parse(list), Err(ConfigError::NoCipher(_))), "{list}");
        }
    }
}
