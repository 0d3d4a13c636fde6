//! TLS towards servers.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::socket::Socket;
use super::tls::{Replay, TlsError, chain, issuers, private_key};
use crate::config::settings::{Address, BackendTls, BackendTlsMode};

/// The client's side of TLS with one server.
#[derive(Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
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
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match &tls.ca {
            Some(path) if tls.mode == BackendTlsMode::VerifyIdentity => {
                builder.with_root_certificates(issuers("tls_ca", path)?)
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
                builder.with_client_auth_cert(chain, key).map_err(refused)?
            }
        };
        Ok(Some(Self { config: Arc::new(config), name }))
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
