//! The real server as a process: started on a free port, stopped or killed at will. Its log is shown when a
//! test fails.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

/// How long a test waits for a process: generous, because two cores may be compiling.
const PATIENCE: Duration = Duration::from_mins(1);

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

/// A call that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
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
        let mut child = command
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Process { child, stdout, stderr, _dir: self.dir.clone() }
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
        let Some(line) = process.stdout.find("listening on ").await else {
            let finished = process.wait().await;
            panic!("the server does not serve: {finished:#?}");
        };
        let url = line.trim_start_matches("listening on ").to_owned();
        assert!(url.starts_with("http://") || url.starts_with("https://"), "{line:?}");
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
        self.process.child.id()
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

/// A process that has been started; killed when dropped.
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    _dir: Arc<TempDir>,
}

impl Process {
    /// Waits until this many lines on standard output contain `part`.
    ///
    /// # Panics
    /// When the process ends first, or after a minute.
    pub async fn printed(&mut self, part: &str, times: usize) {
        let enough = self.stdout.count(part, times).await;
        assert!(enough, "{part:?} was not printed {times} times");
    }

    /// Waits until this many lines on standard error contain `part`.
    ///
    /// # Panics
    /// As [`printed`](Self::printed).
    pub async fn logged(&mut self, part: &str, times: usize) {
        let enough = self.stderr.count(part, times).await;
        assert!(enough, "{part:?} was not logged {times} times");
    }

    /// The first line on standard error that contains `part`.
    ///
    /// # Panics
    /// When the process ends first, or after a minute.
    pub async fn line(&mut self, part: &str) -> String {
        self.stderr.find(part).await.expect("the line is logged")
    }

    /// The address at which it says it listens.
    ///
    /// # Panics
    /// As [`line`](Self::line).
    pub async fn announced(&mut self) -> String {
        let line = self.stdout.find("listening on ").await.expect("it listens");
        line.trim_start_matches("listening on ").to_owned()
    }

    /// `kill -TERM`: asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&self, signal: Signal) {
        // The process may be gone already; the wait that follows finds out.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), signal).ok();
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait(self) -> Finished {
        self.wait_within(PATIENCE).await
    }

    /// The same, for one that takes long.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn wait_within(mut self, patience: Duration) -> Finished {
        let status = tokio::time::timeout(patience, self.child.wait())
            .await
            .expect("the process comes to an end")
            .expect("the process can be waited for");
        let (stdout, stderr) = (self.stdout.rest().await, self.stderr.rest().await);
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Process {
    /// Kills the process, if it has not ended, and waits until it is gone: the next one may need its database file. What
    /// it said is shown by the test harness only when the test failed.
    fn drop(&mut self) {
        self.child.start_kill().ok();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if std::thread::panicking() {
            let mut said = String::new();
            for (name, lines) in [("output", &self.stdout), ("error", &self.stderr)] {
                for line in lines.seen.borrow().iter() {
                    writeln!(said, "  standard {name}: {line}").ok();
                }
            }
            eprintln!("a process that was part of this said:\n{said}");
        }
    }
}

/// The lines that a process has written. They are read continuously, so that its pipe never fills up.
struct Lines {
    seen: watch::Receiver<Vec<String>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|seen| seen.push(line));
            }
        });
        Self { seen, reader }
    }

    async fn find(&mut self, part: &str) -> Option<String> {
        self.until(|lines| lines.iter().find(|line| line.contains(part)).cloned()).await
    }

    /// Waits until `found` returns something. `None` when the lines end first, or after a minute.
    async fn until<T>(&mut self, found: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let some = self.seen.wait_for(|lines| found(lines).is_some());
        match tokio::time::timeout(PATIENCE, some).await {
            Ok(Ok(lines)) => found(&lines),
            _ => None,
        }
    }

    async fn count(&mut self, part: &str, times: usize) -> bool {
        let contains = |line: &&String| line.contains(part);
        let enough =
            |lines: &[String]| (lines.iter().filter(contains).count() >= times).then_some(());
        self.until(enough).await.is_some()
    }

    async fn rest(&mut self) -> String {
        // There is no grandchild that could hold the pipe open, but if there were, a test must not hang.
        tokio::time::timeout(PATIENCE, &mut self.reader).await.ok();
        self.seen.borrow().join("\n")
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
