//! What TLS tells of a client, for accounts with `REQUIRE X509`, `ISSUER`, `SUBJECT` or `CIPHER`.

use tokio_rustls::rustls::{CipherSuite, CommonState, ProtocolVersion};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

/// Facts of a client's TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The cipher as OpenSSL, and so the servers, name it.
    pub cipher: &'static str,
    /// The protocol, as OpenSSL names it.
    pub version: &'static str,
    /// From the certificate the client has shown, which a trusted issuer has signed.
    pub certificate: Option<Names>,
}

/// Names in a certificate, in the form the servers compare: `/C=SE/O=Example/CN=app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Who has signed it.
    pub issuer: String,
    /// Whose it is.
    pub subject: String,
}

impl ClientTls {
    pub(super) fn of(state: &CommonState) -> Self {
        let cipher =
            state.negotiated_cipher_suite().map_or("", |suite| openssl_name(suite.suite()));
        let shown = state.peer_certificates().and_then(|chain| chain.first());
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        };
        Self { cipher, version, certificate: shown.and_then(|shown| Names::of(shown)) }
    }
}

impl Names {
    /// From a certificate in DER; `None` when it is none.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        let (issuer, subject) = (certificate.issuer(), certificate.subject());
        Some(Self { issuer: one_line(issuer), subject: one_line(subject) })
    }
}

/// When a certificate in DER is good, if that is not now.
pub(super) fn out_of_time(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let words = || format!("is good from {} to {}", validity.not_before, validity.not_after);
    (!validity.is_valid()).then(words)
}

/// As OpenSSL's `X509_NAME_oneline`.
fn one_line(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type();
        let known = oid2abbrev(oid, oid_registry()).map(str::to_owned);
        text.push('/');
        text.push_str(&known.unwrap_or_else(|_| oid.to_id_string()));
        text.push('=');
        let bytes = attribute.attr_value().data;
        for &byte in bytes {
            match byte {
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text.push_str(&format!("\\x{byte:02X}")),
            }
        }
    }
    text
}

/// The names are the same in TLS 1.3 only.
fn openssl_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_name_is_written_as_openssl_writes_it() {
        let mut params = CertificateParams::new(vec![]).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "SE");
        params.distinguished_name.push(DnType::OrganizationName, "Café, a shop");
        params.distinguished_name.push(DnType::CommonName, "till 1");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (_, parsed) = parse_x509_certificate(certificate.der()).expect("legal");
        assert_eq!(one_line(parsed.subject()), "/C=SE/O=Caf\\xC3\\xA9, a shop/CN=till 1");
    }
}
