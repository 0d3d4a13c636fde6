//! The part of [`resolve`](super::resolve) about servers, and about TLS.

use std::collections::HashSet;
use std::net::Ipv6Addr;

use super::model::{self, Model};
use super::resolve::{CONTROL, Resolver, is_label};
use super::settings::{
    Address, Backend, BackendCompression, BackendTls, BackendTlsMode, ProxyProtocol, Tls, TlsFiles,
    TlsMode,
};

/// Where a server is whose address can't be used; the file is refused.
const NOWHERE: Address = Address::Tcp { host: String::new(), port: 0 };

/// Most connections to one server: the largest `max_connections` that MariaDB and MySQL take.
const CONNECTIONS_MAX: usize = 100_000;

/// More replicas than this are a slip of the hand; sessions note in eight bits which one they use.
const REPLICAS_MAX: usize = 64;

impl Resolver<'_> {
    pub(super) fn backends(&mut self, model: &Model) -> Vec<Backend> {
        let primary = ("primary".to_owned(), "primary".to_owned(), &model.primary);
        let replicas = model.replica.iter().enumerate().map(|(index, replica)| {
            (format!("replica.{index}"), format!("replica{}", index + 1), replica)
        });
        if model.replica.len() > REPLICAS_MAX {
            self.find(
                &format!("replica.{REPLICAS_MAX}"),
                format!("{} replicas are too many", model.replica.len()),
                format!("write at most {REPLICAS_MAX} [[replica]] entries"),
            );
        }
        let mut names = HashSet::new();
        let mut backends: Vec<Backend> = Vec::new();
        for (path, default_name, backend) in std::iter::once(primary).chain(replicas) {
            let name = backend.name.clone().unwrap_or(default_name);
            if !is_label(&name) {
                self.find_invalid(&format!("{path}.name"), format!("\"{name}\" is not a name"));
            } else if !names.insert(name.clone()) {
                self.find(
                    &format!("{path}.name"),
                    format!("\"{name}\" is the name of two servers"),
                    "give each server a name of its own",
                );
            }
            let address = self.address(&path, backend.address.as_deref());
            let twin = backends.iter().find(|other| other.address == address);
            if let Some(twin) = twin.filter(|_| address != NOWHERE) {
                self.find(
                    &format!("{path}.address"),
                    format!("\"{address}\" is the address of {} already", twin.name),
                    "write each server once, or its max_connections would not hold; without a \
                     replica leave out [[replica]]",
                );
            }
            if backend.max_connections < CONTROL + 1 {
                self.find(
                    &format!("{path}.max_connections"),
                    format!("{} is too few", backend.max_connections),
                    "write at least 2: one connection is Fairlane's own, the rest serve clients",
                );
            }
            if backend.max_connections > CONNECTIONS_MAX {
                self.find_invalid(
                    &format!("{path}.max_connections"),
                    format!("{} is more than a server can take", backend.max_connections),
                );
            }
            let max_connections = backend.max_connections.clamp(CONTROL + 1, CONNECTIONS_MAX);
            let tls = self.backend_tls(&path, backend);
            let compression = self.compression(&path, backend);
            let proxy_protocol = self.proxy_protocol(&path, backend);
            backends.push(Backend {
                name,
                address,
                tls,
                compression,
                proxy_protocol,
                max_connections,
            });
        }
        backends
    }

    fn compression(&mut self, path: &str, backend: &model::Backend) -> BackendCompression {
        match backend.compression.as_str() {
            "off" => BackendCompression::Off,
            "zlib" => BackendCompression::Zlib,
            "zstd" => BackendCompression::Zstd,
            other => {
                let wrong = format!("\"{other}\" is no compression");
                self.find_invalid(&format!("{path}.compression"), wrong);
                BackendCompression::Off
            }
        }
    }

    fn proxy_protocol(&mut self, path: &str, backend: &model::Backend) -> ProxyProtocol {
        match backend.proxy_protocol.as_str() {
            "off" => ProxyProtocol::Off,
            "v1" => ProxyProtocol::V1,
            "v2" => ProxyProtocol::V2,
            other => {
                let wrong = format!("\"{other}\" is no version");
                self.find_invalid(&format!("{path}.proxy_protocol"), wrong);
                ProxyProtocol::Off
            }
        }
    }

    fn address(&mut self, path: &str, address: Option<&str>) -> Address {
        let key = format!("{path}.address");
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            self.find_invalid(&key, "is missing");
            return NOWHERE;
        };
        if address.starts_with('/') {
            return Address::Unix(address.into());
        }
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse())
            }
            _ => (address, Ok(3306)),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = match host.contains(':') {
            true => host.split('%').next().is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()),
            false => !host.is_empty() && !host.contains([' ', '/', '@', ',', ';']),
        };
        match port {
            Ok(port) if port > 0 && is_host => Address::Tcp { host: host.to_owned(), port },
            _ if address.contains('@') => {
                // Not repeated: there may be a password in it.
                let cure = "write the host alone; user and password are those of [service]";
                self.find(&key, "is not a host with port, but has an account in it", cure);
                NOWHERE
            }
            _ => {
                self.find_invalid(&key, format!("\"{address}\" is not a host with port"));
                NOWHERE
            }
        }
    }

    fn backend_tls(&mut self, path: &str, backend: &model::Backend) -> BackendTls {
        let mode = match backend.tls.as_str() {
            "disabled" => BackendTlsMode::Disabled,
            "preferred" => BackendTlsMode::Preferred,
            "required" => BackendTlsMode::Required,
            "verify_ca" => BackendTlsMode::VerifyCa,
            "verify_identity" => BackendTlsMode::VerifyIdentity,
            other => {
                self.find_invalid(&format!("{path}.tls"), format!("\"{other}\" is no mode"));
                BackendTlsMode::Disabled
            }
        };
        let ca = backend.tls_ca.as_ref().map(Into::into);
        if mode.verifies() && ca.is_none() {
            self.find_invalid(&format!("{path}.tls_ca"), "is missing");
        }
        let own = (&backend.tls_certificate, &backend.tls_key);
        self.check_backend_tls(path, backend, mode);
        BackendTls { mode, ca, own: self.tls_files(&format!("{path}."), "tls_", own) }
    }

    /// Keys that would do nothing are a belief in a protection that is not there.
    fn check_backend_tls(&mut self, path: &str, backend: &model::Backend, mode: BackendTlsMode) {
        let is_known = backend.tls == "disabled" || mode != BackendTlsMode::Disabled;
        if is_known && backend.tls_ca.is_some() && !mode.verifies() {
            self.find(
                &format!("{path}.tls_ca"),
                format!("tls = \"{}\" does not verify the server", backend.tls),
                "write tls = \"verify_identity\" or tls = \"verify_ca\", or remove tls_ca",
            );
        }
        let is_shown = backend.tls_certificate.is_some() || backend.tls_key.is_some();
        if is_shown && backend.tls == "disabled" {
            let key = if backend.tls_certificate.is_some() { "certificate" } else { "key" };
            self.find(
                &format!("{path}.tls_{key}"),
                "nobody is shown it with tls = \"disabled\"",
                "write another tls, or remove tls_certificate and tls_key",
            );
        }
        let is_local = backend.address.as_ref().is_some_and(|address| address.starts_with('/'));
        if is_local && !matches!(mode, BackendTlsMode::Disabled | BackendTlsMode::Preferred) {
            self.find(
                &format!("{path}.tls"),
                format!("\"{}\" on a Unix socket, which has no TLS", backend.tls),
                "leave tls out: nobody listens to a socket of this machine",
            );
        }
    }

    fn tls_files(
        &mut self,
        path: &str,
        prefix: &str,
        files: (&Option<String>, &Option<String>),
    ) -> Option<TlsFiles> {
        match files {
            (Some(certificate), Some(key)) => {
                return Some(TlsFiles { certificate: certificate.into(), key: key.into() });
            }
            (None, None) => {}
            (Some(_), None) => self.find_invalid(&format!("{path}{prefix}key"), "is missing"),
            (None, Some(_)) => {
                self.find_invalid(&format!("{path}{prefix}certificate"), "is missing");
            }
        }
        None
    }

    pub(super) fn tls(&mut self, tls: &model::Tls) -> Tls {
        let mode = match tls.mode.as_str() {
            "as_primary" => TlsMode::AsPrimary,
            "disabled" => TlsMode::Disabled,
            "preferred" => TlsMode::Preferred,
            "required" => TlsMode::Required,
            other => {
                self.find_invalid("tls.mode", format!("\"{other}\" is no mode"));
                TlsMode::Disabled
            }
        };
        let files =
            [("certificate", &tls.certificate), ("key", &tls.key), ("client_ca", &tls.client_ca)];
        let given = files.iter().find(|(_, file)| file.is_some());
        if let Some((key, _)) = given.filter(|_| tls.mode == "disabled") {
            self.find(
                &format!("tls.{key}"),
                "it is not used with tls.mode = \"disabled\"",
                "write another tls.mode, or remove tls.certificate, tls.key and tls.client_ca",
            );
        }
        let files = self.tls_files("tls.", "", (&tls.certificate, &tls.key));
        Tls { mode, files, client_ca: tls.client_ca.as_ref().map(Into::into) }
    }
}
