//! TLS on both doors: clients with certificates and without, new certificates without a restart, and what is no TLS.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use server::{Server, eventually};
use wire::{Wire, call, encode};

/// An authority, and certificates of it, as files.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("synap-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("ca.crt"), certificate.pem()).expect("a file");
        let certificate = certificate.der().clone();
        Authority { folder, issuer: Issuer::new(params, key), certificate }
    }

    /// Makes `name.crt` and `name.key`.
    fn issue(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_string()]).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.folder.join(format!("{name}.crt")), certificate.pem()).expect("a file");
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("a text").to_string()
    }

    /// A client that trusts this authority, with a certificate of its own when it has a name.
    fn client(&self, name: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).expect("a file");
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a file");
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Secured {
    fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Secured {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let name = "localhost".try_into().expect("a name");
        Secured(StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream))
    }

    /// Sends a call; an answer of so many bytes.
    fn ask(&mut self, bytes: &[u8], answer_bytes: usize) -> io::Result<Vec<u8>> {
        self.0.write_all(bytes)?;
        self.0.flush()?;
        let mut answer = vec![0; answer_bytes];
        self.0.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[track_caller]
    fn expect(&mut self, words: &str, expected: &str) {
        let answer = self.ask(&call(words), expected.len()).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{words}");
    }
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port().to_string()
}

fn at(port: &str) -> SocketAddr {
    format!("127.0.0.1:{port}").parse().expect("an address")
}

fn start(authority: &Authority, auth: &str, more: &[&str]) -> (Server, SocketAddr) {
    let port = free_port();
    let (certificate, key) = (authority.path("server.crt"), authority.path("server.key"));
    let roots = authority.path("ca.crt");
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &roots];
    let flags = [&["--tls-port", &port, "--tls-auth-clients", auth], files.as_slice(), more].concat();
    (Server::with(&flags), at(&port))
}

#[test]
fn calls_go_through_tls_as_they_go_without() {
    let authority = Authority::new("plain");
    authority.issue("server");
    let (server, secured) = start(&authority, "no", &[]);
    let mut wire = Secured::connect(secured, authority.client(None));
    wire.expect("SET k v", "+OK\r\n");
    Wire::connect(server.resp).expect("GET k", "\"v\"");
    // Much in both directions, more than the system holds on the way.
    let large = vec![b'x'; 20 << 20];
    assert_eq!(wire.ask(&encode(&[b"SET", b"large", &large]), 5).expect("an answer"), b"+OK\r\n");
    let head = format!("${}\r\n", large.len());
    let answer = wire.ask(&call("GET large"), head.len() + large.len() + 2).expect("an answer");
    assert!(answer[head.len()..head.len() + large.len()] == large);
    let deep = wire.ask(&call("INCR n").repeat(10_000), 4 * 9 + 90 * 5 + 900 * 6 + 9000 * 7 + 8).expect("answers");
    assert!(deep.ends_with(b":10000\r\n"));
    // Messages come by themselves.
    wire.expect("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    Wire::connect(server.resp).expect("PUBLISH c hello", ":1");
    let message = wire.ask(b"", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n".len()).expect("a message");
    assert!(message.ends_with(b"hello\r\n"));
    // An end is said, and not only a connection gone.
    let mut ending = Secured::connect(secured, authority.client(None));
    ending.expect("QUIT", "+OK\r\n");
    assert_eq!(ending.0.read(&mut [0; 8]).expect("an end that was said"), 0);
}

#[test]
fn clients_may_have_to_be_known() {
    let (authority, stranger) = (Authority::new("known"), Authority::new("stranger"));
    authority.issue("server");
    authority.issue("client");
    stranger.issue("client");
    let mixed = |name: Option<&str>| {
        // It trusts the server, and shows a certificate of somebody else.
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let name = name.expect("a name");
        let certificate = CertificateDer::from_pem_file(stranger.path(&format!("{name}.crt"))).expect("a file");
        let key = PrivateKeyDer::from_pem_file(stranger.path(&format!("{name}.key"))).expect("a file");
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(builder.with_client_auth_cert(vec![certificate], key).expect("a pair"))
    };
    for (auth, nobody_may) in [("yes", false), ("optional", true)] {
        let (_server, secured) = start(&authority, auth, &[]);
        Secured::connect(secured, authority.client(Some("client"))).expect("PING", "+PONG\r\n");
        let nobody = Secured::connect(secured, authority.client(None)).ask(&call("PING"), 7);
        assert_eq!(nobody.is_ok(), nobody_may, "{auth}: {nobody:?}");
        assert!(Secured::connect(secured, mixed(Some("client"))).ask(&call("PING"), 7).is_err(), "{auth}");
    }
}

#[test]
fn new_certificates_need_no_restart() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    old.issue("server");
    new.issue("server");
    let (server, secured) = start(&old, "no", &[]);
    let mut before = Secured::connect(secured, old.client(None));
    before.expect("PING", "+PONG\r\n");
    let mut admin = Wire::connect(server.resp);
    let (certificate, key) = (new.path("server.crt"), new.path("server.key"));
    // A certificate without its key changes nothing.
    let alone = admin.call(&format!("CONFIG SET tls-cert-file {certificate}")).to_string();
    assert!(alone.contains("possibly related to argument 'tls-key-file'"), "{alone}");
    let missing = admin.call("CONFIG SET tls-cert-file /no/such/file").to_string();
    assert!(missing.contains("possibly related to argument 'tls-cert-file'"), "{missing}");
    Secured::connect(secured, old.client(None)).expect("PING", "+PONG\r\n");
    admin.expect(&format!("CONFIG SET tls-cert-file {certificate} tls-key-file {key}"), "+OK");
    Secured::connect(secured, new.client(None)).expect("PING", "+PONG\r\n");
    assert!(Secured::connect(secured, old.client(None)).ask(&call("PING"), 7).is_err());
    before.expect("PING", "+PONG\r\n");
    // The files themselves may be new.
    old.issue("server");
    std::fs::copy(old.path("server.crt"), &certificate).expect("a copy");
    std::fs::copy(old.path("server.key"), &key).expect("a copy");
    admin.expect(&format!("CONFIG SET tls-cert-file {certificate}"), "+OK");
    Secured::connect(secured, old.client(None)).expect("PING", "+PONG\r\n");
    // A door more, and less.
    let next = free_port();
    admin.expect(&format!("CONFIG SET tls-port {next}"), "+OK");
    Secured::connect(at(&next), old.client(None)).expect("PING", "+PONG\r\n");
    admin.expect("CONFIG SET tls-port 0", "+OK");
    assert!(TcpStream::connect(at(&next)).is_err());
}

#[test]
fn http_speaks_tls_too() {
    let authority = Authority::new("http");
    authority.issue("server");
    let port = free_port();
    let (_server, _) = start(&authority, "no", &["--http-tls-port", &port]);
    let mut wire = Secured::connect(at(&port), authority.client(None));
    let answer = wire.ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 15).expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 200 OK");
}

#[test]
fn what_is_no_tls_is_closed_and_harms_nobody() {
    let authority = Authority::new("hostile");
    authority.issue("server");
    let (server, secured) = start(&authority, "no", &["--maxclients", "20"]);
    let mut observer = Wire::connect(server.resp);
    let others = |observer: &mut Wire| observer.call("CLIENT LIST").text().lines().count() - 1;
    for bytes in [call("PING"), vec![0; 100_000], vec![0x16, 3, 1, 0xff, 0xff, 1, 0, 0], vec![0xff; 100]] {
        let mut wire = Wire::connect(secured);
        let _ = wire.stream.get_mut().write_all(&bytes);
        let _ = wire.stream.get_mut().shutdown(std::net::Shutdown::Write);
        let answer = wire.rest();
        assert!(!answer.starts_with(b"+PONG"), "{:?}", answer.escape_ascii().to_string());
    }
    eventually("they are gone", || others(&mut observer) == 0);
    // Those who say nothing are clients, too, and can be ended.
    let silent: Vec<Wire> = (0..19).map(|_| Wire::connect(secured)).collect();
    eventually("all are in", || others(&mut observer) == 19);
    Wire::connect(server.resp).hears("-ERR max number of clients reached");
    assert_eq!(observer.call("CLIENT KILL TYPE normal").int(), 19);
    eventually("they are gone", || others(&mut observer) == 0);
    Secured::connect(secured, authority.client(None)).expect("PING", "+PONG\r\n");
    drop(silent);
}

#[test]
fn tls_without_its_files_is_no_start() {
    for (flags, why) in [
        (vec!["--tls-port", "1"], "tls-cert-file: "),
        (vec!["--tls-port", "1", "--tls-cert-file", "/no/such"], "/no/such: "),
        (vec!["--http-tls-port", "1"], "tls-cert-file: "),
    ] {
        let said = Server::refuses(&flags);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
}
