//! TLS towards clients.
//!
//! A client asks for it with the first half of its handshake response; what it sent behind that
//! has been read already and is given to the handshake first.

use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::certificate;
use super::socket::Socket;
use crate::config::settings::{Tls, TlsFiles};

/// Names in the certificate Fairlane makes for itself: clients that check it need a real one.
const SELF_MADE_NAMES: [&str; 2] = ["fairlane", "localhost"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error("{key} = \"{path}\": {reason}; {cure}")]
    File {
        /// The configuration key that names it.
        key: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        cure: &'static str,
    },
    /// The host of a server can't stand in a certificate.
    #[error("\"{host}\" can't have a certificate ({reason}); write the host's name as address")]
    Name {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The library refuses.
    #[error("TLS can't be set up: {0}")]
    Library(String),
    /// No certificate could be made.
    #[error("can't make a certificate: {0}; give tls.certificate and tls.key")]
    SelfMade(String),
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct Acceptor {
    settings: Tls,
    /// The certificate Fairlane made for itself, where the settings name none.
    own: Option<ChainAndKey>,
    current: ArcSwap<ServerConfig>,
}

impl Acceptor {
    /// With the certificate of the files in `settings`, or one made for this run.
    ///
    /// # Errors
    /// When a file can't be read or does not hold what it should.
    pub fn new(settings: &Tls) -> Result<Self, TlsError> {
        let own = match &settings.files {
            Some(_) => None,
            None => Some(self_made().map_err(|error| TlsError::SelfMade(error.to_string()))?),
        };
        let current = ArcSwap::from_pointee(load(settings, own.as_ref())?);
        Ok(Self { settings: settings.clone(), own, current })
    }

    /// Reads the files again. Connections keep what they have; a certificate that Fairlane made
    /// stays.
    ///
    /// # Errors
    /// As [`Acceptor::new`]; the old certificate stays then.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.settings, self.own.as_ref())?));
        Ok(())
    }

    /// Does the handshake with a client. `ahead` is what was read of it already.
    ///
    /// # Errors
    /// When the client breaks off or the two have no protocol in common.
    ///
    /// # Cancel safety
    /// Not cancel safe: the connection is lost.
    pub async fn accept(&self, stream: TcpStream, ahead: Vec<u8>) -> io::Result<Socket> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let stream = acceptor.accept(Replay::new(ahead, stream)).await?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }
}

fn load(settings: &Tls, own: Option<&ChainAndKey>) -> Result<ServerConfig, TlsError> {
    let files = settings.files.as_ref();
    let (chain, key) = match (files, own) {
        (Some(files), _) => {
            let chain = chain("tls.certificate", &files.certificate)?;
            (chain, private_key("tls.key", &files.key)?)
        }
        (None, Some((chain, key))) => (chain.clone(), key.clone_key()),
        (None, None) => return Err(TlsError::SelfMade("there is none".to_owned())),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Library(error.to_string()))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let issuers = Arc::new(issuers("tls.client_ca", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(issuers, provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| TlsError::Library(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let built = builder.with_single_cert(chain, key);
    let mut config = built.map_err(|error| match files {
        Some(files) => TlsError::File {
            key: "tls.key",
            path: files.key.display().to_string(),
            reason: error.to_string(),
            cure: "give the key that belongs to tls.certificate",
        },
        None => TlsError::SelfMade(error.to_string()),
    })?;
    // PHP comes with a new connection for each request: a ticket spares it most of a handshake.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(config)
}

/// When the certificate of these files is good, if that is not now.
pub fn out_of_time(files: &TlsFiles) -> Option<String> {
    let chain = chain("certificate", &files.certificate).ok()?;
    let when = certificate::out_of_time(chain.first()?)?;
    Some(format!("\"{}\" {when}", files.certificate.display()))
}

pub(super) fn chain(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let cure = "give a file with the certificate in PEM form, those of its issuers behind it";
    let text = read(key, path, cure)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(key, path, "there is no certificate in it", cure)),
        Err(error) => Err(wrong(key, path, &error.to_string(), cure)),
    }
}

/// The issuers in a file.
pub(super) fn issuers(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut issuers = RootCertStore::empty();
    for certificate in chain(key, path)? {
        issuers.add(certificate).map_err(|error| {
            wrong(key, path, &error.to_string(), "give the certificates of issuers")
        })?;
    }
    Ok(issuers)
}

pub(super) fn private_key(
    key: &'static str,
    path: &Path,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let cure = "give a file with the private key in PEM form, without a passphrase";
    let text = zeroize::Zeroizing::new(read(key, path, cure)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(key, path, &error.to_string(), cure))
}

fn read(key: &'static str, path: &Path, cure: &'static str) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| wrong(key, path, &error.to_string(), cure))
}

fn wrong(key: &'static str, path: &Path, reason: &str, cure: &'static str) -> TlsError {
    TlsError::File { key, path: path.display().to_string(), reason: reason.to_owned(), cure }
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn self_made() -> Result<ChainAndKey, rcgen::Error> {
    let key = KeyPair::generate()?;
    let names = SELF_MADE_NAMES.map(str::to_owned);
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

/// A stream of which some has been read before.
#[derive(Debug)]
pub struct Replay {
    ahead: Vec<u8>,
    at: usize,
    stream: TcpStream,
}

impl Replay {
    pub(super) fn new(ahead: Vec<u8>, stream: TcpStream) -> Self {
        Self { ahead, at: 0, stream }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.at == this.ahead.len() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let count = buffer.remaining().min(this.ahead.len() - this.at);
        buffer.put_slice(&this.ahead[this.at..this.at + count]);
        this.at += count;
        if this.at == this.ahead.len() {
            (this.ahead, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
