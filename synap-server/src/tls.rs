//! TLS: certificates from files, as the settings name them. They are read again when a setting is set; connections that
//! are there keep what they began with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use synap_core::settings::{self, Id, Settings};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a client may take to agree on keys.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What follows from the settings of TLS. None before somebody wants TLS.
#[derive(Default)]
pub struct Tls(RwLock<Option<Arc<ServerConfig>>>);

/// The settings that [`Tls::follow`] goes by.
pub const SETTINGS: [Id; 6] = [
    settings::TLS_PORT,
    settings::TLS_CERT_FILE,
    settings::TLS_KEY_FILE,
    settings::TLS_CA_CERT_FILE,
    settings::TLS_AUTH_CLIENTS,
    settings::TLS_PROTOCOLS,
];

impl Tls {
    /// Reads what the settings name. An error leaves all as it was.
    pub fn follow(&self, settings: &Settings) -> Result<(), (Id, String)> {
        let is_wanted = [settings::TLS_PORT, settings::HTTP_TLS_PORT].iter().any(|port| settings.int(*port) != 0);
        let config = if is_wanted { Some(Arc::new(read(settings)?)) } else { None };
        *self.0.write() = config;
        Ok(())
    }

    /// Agrees with a client. The error is for the log: the client has been told what TLS tells.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let config = self.0.read().clone().ok_or("TLS was turned off")?;
        match tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(stream)).await {
            Ok(accepted) => accepted.map_err(|error| error.to_string()),
            Err(_) => Err("it takes too long".into()),
        }
    }
}

fn read(settings: &Settings) -> Result<ServerConfig, (Id, String)> {
    let certificates = certificates(settings, settings::TLS_CERT_FILE)?;
    let key_file = named(settings, settings::TLS_KEY_FILE)?;
    let wrong_key = |error: &dyn std::fmt::Display| (settings::TLS_KEY_FILE, format!("{key_file}: {error}"));
    let key = PrivateKeyDer::from_pem_file(Path::new(&key_file)).map_err(|error| wrong_key(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(settings))
        .map_err(|error| (settings::TLS_PROTOCOLS, error.to_string()))?;
    let auth = settings.text(settings::TLS_AUTH_CLIENTS);
    let builder = if auth == "no" {
        builder.with_no_client_auth()
    } else {
        let wrong_roots = |error: &dyn std::fmt::Display| (settings::TLS_CA_CERT_FILE, error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in self::certificates(settings, settings::TLS_CA_CERT_FILE)? {
            roots.add(certificate).map_err(|error| wrong_roots(&error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        let verifier = if auth == "optional" { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong_roots(&error))?)
    };
    builder.with_single_cert(certificates, key).map_err(|error| wrong_key(&error))
}

fn certificates(settings: &Settings, id: Id) -> Result<Vec<CertificateDer<'static>>, (Id, String)> {
    let file = named(settings, id)?;
    let wrong = |error: &dyn std::fmt::Display| (id, format!("{file}: {error}"));
    let found = CertificateDer::pem_file_iter(Path::new(&file)).map_err(|error| wrong(&error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    if found.is_empty() { Err(wrong(&"there is no certificate in it")) } else { Ok(found) }
}

/// The name of a file that TLS cannot do without.
fn named(settings: &Settings, id: Id) -> Result<String, (Id, String)> {
    let file = settings.text(id);
    let why = "a port for TLS is open, or clients are to be known by certificates: a file is needed";
    if file.is_empty() { Err((id, format!("{}: {why}", id.setting().name))) } else { Ok(file) }
}

fn versions(settings: &Settings) -> Vec<&'static SupportedProtocolVersion> {
    let text = settings.text(settings::TLS_PROTOCOLS);
    let known = [("TLSv1.2", &version::TLS12), ("TLSv1.3", &version::TLS13)];
    let wanted = known.iter().filter(|(name, _)| text.is_empty() || text.split(' ').any(|word| word == *name));
    wanted.map(|(_, version)| *version).collect()
}
