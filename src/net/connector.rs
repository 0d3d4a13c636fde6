//! TLS towards servers.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::socket::Socket;
use super::tls::{Replay, TlsError, chain, issuers, private_key};
use crate::config::settings::{Address, BackendTls, BackendTlsMode};

/// The client's side of TLS with one server.
#[derive(Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Servers without TLS are spoken to without.
    pub is_optional: bool,
}

impl Connector {
    /// For the server at `address`; `None` where there is to be no TLS: by the configuration, or
    /// because a Unix socket leaves nothing to listen to.
    ///
    /// # Errors
    /// When the file with the issuers can't be used, or the host can't be in a certificate.
    pub fn new(tls: &BackendTls, address: &Address) -> Result<Option<Self>, TlsError> {
        let Address::Tcp { host, .. } = address else { return Ok(None) };
        if tls.mode == BackendTlsMode::Disabled {
            return Ok(None);
        }
        let name = ServerName::try_from(host.clone())
            .map_err(|error| TlsError::Name { host: host.clone(), reason: error.to_string() })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let refused = |error: Error| TlsError::Library(error.to_string());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match &tls.ca {
            Some(path) if tls.mode == BackendTlsMode::VerifyIdentity => {
                builder.with_root_certificates(issuers("tls_ca", path)?)
            }
            Some(path) if tls.mode == BackendTlsMode::VerifyCa => {
                let verifier = AnyName::new(issuers("tls_ca", path)?, provider)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            _ => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustsAll(algorithms))),
        };
        let config = match &tls.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = chain("tls_certificate", &own.certificate)?;
                let key = private_key("tls_key", &own.key)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::File {
                    key: "tls_key",
                    path: own.key.display().to_string(),
                    reason: error.to_string(),
                    cure: "give the key that belongs to tls_certificate",
                })?
            }
        };
        let is_optional = tls.mode == BackendTlsMode::Preferred;
        Ok(Some(Self { config: Arc::new(config), name, is_optional }))
    }

    /// Does the handshake. `ahead` is what was read from the server already.
    ///
    /// # Errors
    /// When the server breaks off or its certificate is not trusted.
    ///
    /// # Cancel safety
    /// Not cancel safe: the connection is lost.
    pub async fn connect(&self, socket: Socket, ahead: Vec<u8>) -> io::Result<Socket> {
        let Socket::Tcp(stream) = socket else { return Ok(socket) };
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(self.name.clone(), Replay::new(ahead, stream)).await?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }
}

/// Trusts certificates of certain issuers, for whatever name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl AnyName {
    fn new(issuers: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(issuers), provider).build();
        built.map(Self).map_err(|error| TlsError::Library(error.to_string()))
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, when all else is good.
        match self.0.verify_server_cert(certificate, issuers, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Trusts every certificate: TLS against listeners, not against impostors.
#[derive(Debug)]
struct TrustsAll(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn issuer() -> Issuer {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("an issuer")
    }

    fn certificate(issuer: &Issuer, names: &[&str]) -> CertificateDer<'static> {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().expect("a key");
        params.signed_by(&key, issuer).expect("a certificate").der().clone()
    }

    #[test]
    fn an_issuer_is_enough_whatever_the_name() {
        let (ours, theirs) = (issuer(), issuer());
        let mut trusted = RootCertStore::empty();
        trusted.add(ours.der().clone()).expect("an issuer");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = AnyName::new(trusted, provider).expect("a verifier");
        let name = ServerName::try_from("db1").expect("a name");
        let year =
            |year: u64| UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
        let verify = |certificate: &CertificateDer<'_>, now| {
            verifier.verify_server_cert(certificate, &[], &name, &[], now).map(|_| ())
        };
        for names in [&["db1"][..], &["another"], &[]] {
            let good = certificate(&ours, names);
            assert_eq!(verify(&good, year(2030)), Ok(()), "{names:?}");
            let late = verify(&good, year(2041));
            assert!(matches!(late, Err(Error::InvalidCertificate(_))), "{names:?}: {late:?}");
            let foreign = verify(&certificate(&theirs, names), year(2030));
            assert!(matches!(foreign, Err(Error::InvalidCertificate(_))), "{names:?}: {foreign:?}");
        }
    }
}
