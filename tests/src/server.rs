//! The real server as a process: started on a free port, stopped or killed at will. Its log is shown when a
//! test fails.

mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

pub use process::{Finished, Process};

/// The binary `doorstep`, built once per test process, with the tests' profile and into their target folder.
///
/// `DOORSTEP_BIN` names another binary to test.
///
/// # Panics
/// When it does not build.
pub async fn binary() -> &'static Path {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY
        .get_or_init(|| async {
            match std::env::var_os("DOORSTEP_BIN") {
                Some(path) => path.into(),
                None => tokio::task::spawn_blocking(build).await.expect("the build does not panic"),
            }
        })
        .await
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/it-0123456789abcdef
    let test = std::env::current_exe().expect("a running test has a path");
    let profile_dir = test.ancestors().nth(2).expect("a test is in TARGET/PROFILE/deps");
    let target_dir = profile_dir.parent().expect("a profile's folder is in the target's");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        // `cargo bench` uses this folder too, and measures the binary that is released.
        Some("release") if std::env::args().any(|argument| argument == "--bench") => "bench",
        Some(profile) => profile,
    };
    let output = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "doorstep", "--bin", "doorstep"])
        .args(["--message-format", "json-render-diagnostics", "--profile", profile, "--target-dir"])
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs: it has built this test");
    assert!(output.status.success(), "the binary does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .expect("cargo names the executable that it built")
}

/// A call of the binary, before it starts.
///
/// It inherits no `DOORSTEP_*` variables, and works in an empty folder.
#[derive(Debug)]
pub struct Doorstep {
    under: Vec<String>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    dir: Arc<TempDir>,
}

impl Doorstep {
    /// A call with these arguments, in an empty folder of its own.
    ///
    /// # Panics
    /// When no temporary folder can be created.
    pub fn new(args: &[&str]) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { under: vec![], args, environment: vec![], dir }
    }

    /// `serve` on a free port, with the database at this URL.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn serve(database: &str) -> Self {
        Self::new(&["serve", "--listen", "127.0.0.1:0"]).env("DATABASE_URL", database)
    }

    /// Sets this environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it under this program, such as a profiler, which gets the binary and its arguments as its last ones.
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Writes this file into its working folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).expect("a file in a temporary folder");
        self
    }

    /// The working folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn spawn(&self) -> Process {
        let binary = binary().await;
        let mut command = match &*self.under {
            [] => Command::new(binary),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| {
                name.starts_with("DOORSTEP_") || ["DATABASE_URL", "RUST_LOG"].contains(&name)
            });
            if ours {
                command.env_remove(name);
            }
        }
        let child = command
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        Process::of(child, self.dir.clone())
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn run(&self) -> Finished {
        self.spawn().await.wait().await
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// When it ends instead; the panic message contains its standard error.
    pub async fn start(&self) -> Server {
        let mut process = self.spawn().await;
        let Some(url) = process.listens().await else {
            let finished = process.wait().await;
            panic!("the server does not serve: {finished:#?}");
        };
        assert!(url.starts_with("http://") || url.starts_with("https://"), "{url:?}");
        Server { process, url }
    }
}

/// A running server; killed when dropped.
pub struct Server {
    process: Process,
    url: String,
}

impl Server {
    /// `http://ADDR` or `https://ADDR`, as the server printed it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address.
    ///
    /// # Panics
    /// When it listens on a Unix socket.
    pub fn address(&self) -> SocketAddr {
        let (_, address) = self.url.split_once("://").expect("a URL");
        address.parse().expect("an address")
    }

    /// `kill -TERM`: asks it to stop.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// `kill -INT`, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.process.signal(Signal::SIGINT);
    }

    /// `kill -QUIT`: ends it without the handover.
    pub fn quit(&self) {
        self.process.signal(Signal::SIGQUIT);
    }

    /// `kill -STOP`: it does nothing until [`resume`](Self::resume). Its connections stay open.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// `kill -CONT`: it goes on after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// `kill -HUP`: asks it to reload its keys.
    pub fn hang_up(&self) {
        self.process.signal(Signal::SIGHUP);
    }

    /// The process's id.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// The process's resident memory in MiB.
    ///
    /// # Panics
    /// When Linux does not say.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that the process has had so far, in MiB.
    ///
    /// # Panics
    /// When Linux does not say.
    #[cfg(target_os = "linux")]
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    #[cfg(target_os = "linux")]
    fn memory(&self, line: &str) -> u64 {
        let status = format!("/proc/{}/status", self.pid().expect("a running server"));
        let status = std::fs::read_to_string(status).expect("a running server has a status");
        let line = status.lines().find_map(|found| found.strip_prefix(line)).expect("a known line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") / 1024
    }

    /// `kill -9`: ends it at once, and waits until it is gone.
    pub async fn kill(self) -> Finished {
        self.process.signal(Signal::SIGKILL);
        self.process.wait().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait(self) -> Finished {
        self.process.wait().await
    }

    /// Waits until this many lines that contain `part` have been logged.
    ///
    /// # Panics
    /// As [`Process::logged`].
    pub async fn logged(&mut self, part: &str, times: usize) {
        self.process.logged(part, times).await;
    }
}

/// A fresh database file for one test, deleted on drop.
#[derive(Debug)]
pub struct SqliteFile(TempDir);

impl SqliteFile {
    /// Names a file that does not exist yet.
    ///
    /// # Panics
    /// When no temporary folder can be created.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.0.path().join("doorstep.db").display())
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self::new()
    }
}
