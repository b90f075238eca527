//! SET over TLS. The load is redis-benchmark or valkey-benchmark, whichever speaks TLS: both servers get the same number of
//! calls from it, in turns.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::Result;
use super::options::Options;
use super::persistence::{Floor, Number};
use super::servers::{self, Folder, Launch, Server};
use super::system::Cores;

const PIPELINE: u64 = 16;
const FLOOR: f64 = 0.6;
/// Calls of a round for each second that was asked for: about what one core of the reference does.
const CALLS_A_SECOND: f64 = 300_000.0;

pub fn compare(options: &Options, ours: &Launch, theirs: &Launch, cores: &Cores) -> Result<Number> {
    let load = Load::find(options)?;
    let files = Files::new()?;
    let (ours, theirs) = (Measured::start(ours, cores, &files)?, Measured::start(theirs, cores, &files)?);
    for measured in [&ours, &theirs] {
        // Handshakes, and keys that are there: not measured.
        load.drive(measured, &files, cores)?;
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        rounds.push((load.measure(&ours, &files, cores)?, load.measure(&theirs, &files, cores)?));
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let number = Number {
        what: format!("SET with TLS, pipeline {PIPELINE}"),
        unit: "µs of processor time",
        ours: median(rounds.iter().map(|round| round.0).collect()),
        theirs: median(rounds.iter().map(|round| round.1).collect()),
        floor: Some(Floor::Ratio(FLOOR)),
        rises: false,
    };
    eprintln!("{}: {:.3} : {:.3}  ratio {:.2}", number.what, number.ours, number.theirs, number.ratio());
    Ok(number)
}

/// A certificate that signs itself, and its key.
struct Files {
    folder: Arc<Folder>,
}

impl Files {
    fn new() -> Result<Files> {
        let folder = Folder::new()?;
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
        let files = Files { folder };
        for (name, text) in [("server.crt", pair.cert.pem()), ("server.key", pair.signing_key.serialize_pem())] {
            std::fs::write(files.path(name), text).map_err(|error| format!("cannot write {name}: {error}"))?;
        }
        Ok(files)
    }

    fn path(&self, name: &str) -> String {
        self.folder.file(name).to_string_lossy().into_owned()
    }
}

/// A server and its port for TLS.
struct Measured {
    server: Server,
    port: u16,
}

impl Measured {
    fn start(launch: &Launch, cores: &Cores, files: &Files) -> Result<Measured> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("cannot find a free port: {error}"))?
            .port();
        let (certificate, key) = (files.path("server.crt"), files.path("server.key"));
        let mut arguments = vec!["--tls-port".to_owned(), port.to_string()];
        for (name, value) in [
            ("--tls-cert-file", certificate.as_str()),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &certificate),
            ("--tls-auth-clients", "no"),
        ] {
            arguments.extend([name.to_owned(), value.to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = Server::start(&launch.with(&arguments), cores).map_err(|sentence| {
            format!("{sentence}\nA reference that was built with TLS is needed: Debian's redis-server was")
        })?;
        Ok(Measured { server, port })
    }
}

struct Load {
    program: std::path::PathBuf,
    calls: u64,
    keys: u64,
    connections: u64,
}

impl Load {
    fn find(options: &Options) -> Result<Load> {
        let speaks_tls = |program: &Path| {
            let help = Command::new(program).arg("--help").output();
            help.is_ok_and(|help| {
                [help.stdout, help.stderr].iter().any(|text| String::from_utf8_lossy(text).contains("--tls"))
            })
        };
        let program = ["redis-benchmark", "valkey-benchmark"]
            .iter()
            .find_map(|name| servers::in_path(name).filter(|program| speaks_tls(program)))
            .ok_or("no redis-benchmark with TLS is in PATH (apt-get install redis-tools)")?;
        let calls = (options.seconds() * CALLS_A_SECOND) as u64;
        Ok(Load { program, calls, keys: options.keys(), connections: options.connections })
    }

    /// Microseconds of the server's processor time for one call.
    fn measure(&self, measured: &Measured, files: &Files, cores: &Cores) -> Result<f64> {
        let before = (measured.server.processor_time()?, sets(&measured.server)?);
        self.drive(measured, files, cores)?;
        let (time, calls) = (measured.server.processor_time()? - before.0, sets(&measured.server)? - before.1);
        if calls < self.calls {
            return Err(format!("{} ran {calls} of {} calls", measured.server.name, self.calls));
        }
        Ok(time.as_secs_f64() * 1e6 / calls as f64)
    }

    fn drive(&self, measured: &Measured, files: &Files, cores: &Cores) -> Result<()> {
        let mut command = Command::new(&self.program);
        let number = |name: &str, value: u64| [name.to_owned(), value.to_string()];
        command.args(["-h", "127.0.0.1", "-t", "set", "-d", "16", "-q", "--tls", "--insecure", "--cacert"]);
        command.arg(files.path("server.crt"));
        command.args(number("-p", measured.port.into())).args(number("-c", self.connections));
        command.args(number("-n", self.calls)).args(number("-r", self.keys)).args(number("-P", PIPELINE));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        super::system::tie(&mut command, &cores.load);
        let status = command.status().map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.program.display())) }
    }
}

/// SETs that the server has counted.
fn sets(server: &Server) -> Result<u64> {
    let calls = server.client()?.info_number("stats", "total_commands_processed")?;
    calls.ok_or_else(|| format!("{} does not count its calls", server.name))
}
