//! A throw-away PostgreSQL: one cluster per test process, one fresh database per test.
//!
//! The cluster is created with the binaries on this machine (`initdb`, `postgres`), unless `TEST_DATABASE_URL`
//! names a server to use. It is removed when the process ends, even when the process is killed: a small shell,
//! the postmaster's only parent, holds the other end of a pipe and cleans up when the pipe closes.

use std::{
    env, fs,
    io::{Read, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::unistd::{Uid, User};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// How long a cluster may take to start: generous, because two cores may be compiling.
const START_WITHIN: Duration = Duration::from_mins(1);
/// How many ports to try: another process may take a free port before PostgreSQL does.
const PORTS_TO_TRY: u32 = 5;
/// PostgreSQL's message in that case.
const PORT_TAKEN: &str = "could not create any TCP/IP sockets";
/// On a server that is not ours, databases older than this are left-overs of an earlier test process.
const LEFT_BEHIND_AFTER: Duration = Duration::from_hours(1);
/// The prefix of every database created here.
const NAME_PREFIX: &str = "doorstep_test_";

/// Starts the postmaster, stops and starts it again when told to, and leaves nothing behind when the pipe closes.
///
/// `$1` is the `postgres` binary, `$2` the directory, `$3` the port; the rest goes to PostgreSQL.
const WATCHDOG: &str = r#"
postgres=$1 dir=$2 port=$3; shift 3
start() { "$postgres" -D "$dir/data" -p "$port" "$@" </dev/null >"$dir/log" 2>&1 & postmaster=$!; }
start "$@"
while read -r order; do
    case $order in
        stop) kill -INT "$postmaster"; wait "$postmaster" ;;
        start) start "$@" ;;
    esac
done
kill -QUIT "$postmaster" 2>/dev/null
wait "$postmaster" 2>/dev/null
rm -rf "$dir"
"#;

/// Whether a commit reaches the disk before it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// No `fsync`: tests kill our server and never PostgreSQL, so no data is at risk.
    Fast,
    /// As in production, for benches that need realistic figures.
    Durable,
}

/// A PostgreSQL server on which tests create databases.
#[derive(Debug)]
pub struct Postgres {
    /// The server's own database, from which others are created.
    maintenance_url: String,
    /// `None` for a server that is not ours.
    cluster: Option<Cluster>,
}

/// A cluster of our own.
#[derive(Debug)]
struct Cluster {
    dir: PathBuf,
    /// Closing it ends the cluster.
    lifeline: ChildStdin,
}

impl Postgres {
    /// The one server of this process, started by the first call.
    ///
    /// It is [`Durability::Fast`] unless `TEST_POSTGRES_DURABLE=1` is set in the environment.
    ///
    /// # Panics
    /// When no server can be started; the message says what to install.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let durable = env::var("TEST_POSTGRES_DURABLE").is_ok_and(|v| v == "1");
                Self::start(if durable { Durability::Durable } else { Durability::Fast }).await
            })
            .await
    }

    /// A server that lives as long as the value: the one in `TEST_DATABASE_URL`, or a new cluster.
    ///
    /// # Panics
    /// As [`shared`](Self::shared).
    pub async fn start(durability: Durability) -> Self {
        if let Ok(url) = env::var("TEST_DATABASE_URL") {
            let server = Self { maintenance_url: url, cluster: None };
            server.sweep().await;
            return server;
        }
        // On a blocking thread, so that paused time does not advance while the cluster starts.
        tokio::task::spawn_blocking(move || start_cluster(durability))
            .await
            .expect("starting PostgreSQL does not panic")
            .unwrap_or_else(|reason| panic!("no PostgreSQL for the tests: {reason}"))
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// When the server cannot be reached or refuses.
    pub async fn database(&self) -> String {
        let name = format!("{NAME_PREFIX}{}", Uuid::now_v7().simple());
        let mut connection = self.connect().await;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap_or_else(|error| panic!("creating the database {name}: {error}"));
        connection.close().await.ok();
        with_database(&self.maintenance_url, &name)
    }

    /// Stops it as `pg_ctl stop` does: connections end at once, what was committed is kept. Returns when it is gone.
    ///
    /// # Panics
    /// When it is not a cluster of our own, or does not stop.
    pub fn stop(&mut self) {
        let lock_file = self.order("stop").join("data/postmaster.pid");
        let deadline = Instant::now() + START_WITHIN;
        while lock_file.exists() {
            assert!(Instant::now() < deadline, "PostgreSQL does not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it after a [`stop`](Self::stop), at the same address.
    ///
    /// # Panics
    /// When it is not a cluster of our own, or does not start.
    pub fn start_again(&mut self) {
        // What is in the log of the earlier one says nothing about this one.
        let cluster = self.cluster.as_ref().expect("a cluster of our own");
        fs::remove_file(cluster.dir.join("log")).expect("there is a log");
        let dir = self.order("start");
        wait_until_ready(&dir).unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Tells the watchdog what to do. Returns the cluster's directory.
    fn order(&mut self, order: &str) -> PathBuf {
        let cluster = self.cluster.as_mut().expect("a cluster of our own");
        cluster.lifeline.write_all(format!("{order}\n").as_bytes()).expect("the watchdog is there");
        cluster.dir.clone()
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.maintenance_url)
            .await
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", self.maintenance_url))
    }

    /// Drops databases that earlier runs left on a server that is not ours. Recent ones may still be in use.
    async fn sweep(&self) {
        let mut connection = self.connect().await;
        let rows =
            connection.fetch_all("SELECT datname FROM pg_database").await.unwrap_or_default();
        for name in rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok()) {
            if name
                .strip_prefix(NAME_PREFIX)
                .and_then(age)
                .is_some_and(|age| age > LEFT_BEHIND_AFTER)
            {
                // Another run may have dropped it at the same time.
                connection
                    .execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}")))
                    .await
                    .ok();
            }
        }
        connection.close().await.ok();
    }
}

/// The age of a database, from the id in its name.
fn age(id: &str) -> Option<Duration> {
    let (seconds, nanos) = Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).ok()
}

/// The URL with its database, if it names one, replaced by this one.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(a, q)| (a, Some(q)));
    let authority = address.find("://").map_or(0, |at| at + "://".len());
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &address[..end])
}

/// A client program of PostgreSQL, such as `pg_dump`: the one beside the server's binaries, or one on the path.
pub fn client(name: &str) -> PathBuf {
    let beside = find_binaries().ok().map(|folder| folder.join(name)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| name.into())
}

fn start_cluster(durability: Durability) -> Result<Postgres, String> {
    let binaries = find_binaries()?;
    let owner = owner()?;
    let mut tries = 1;
    loop {
        match try_to_start(&binaries, owner.as_ref(), durability) {
            Err(reason) if tries < PORTS_TO_TRY && reason.contains(PORT_TAKEN) => tries += 1,
            result => return result,
        }
    }
}

fn try_to_start(
    binaries: &Path,
    owner: Option<&User>,
    durability: Durability,
) -> Result<Postgres, String> {
    let dir = tempfile::Builder::new()
        .prefix("doorstep-postgres-")
        .tempdir()
        .map_err(|error| format!("no temporary directory: {error}"))?;
    if let Some(owner) = owner {
        chown(dir.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).map_err(|error| {
            format!("giving {} to {}: {error}", dir.path().display(), owner.name)
        })?;
    }
    init(binaries, dir.path(), owner)?;
    let port = free_port()?;
    let mut watchdog = spawn(binaries, dir.path(), owner, port, durability)?;
    // From here on the watchdog removes the directory.
    let dir = dir.keep();
    let lifeline = watchdog.stdin.take().ok_or("the watchdog has no pipe")?;
    // Nobody waits for the watchdog: it outlives this process by design.
    wait_until_ready(&dir)?;
    let maintenance_url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    Ok(Postgres { maintenance_url, cluster: Some(Cluster { dir, lifeline }) })
}

/// Runs `initdb`. Nothing is synced: the cluster does not outlive this process.
fn init(binaries: &Path, dir: &Path, owner: Option<&User>) -> Result<(), String> {
    let output = as_owner(Command::new(binaries.join("initdb")), dir, owner)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .arg("-D")
        .arg(dir.join("data"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("running initdb: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("initdb failed: {}", String::from_utf8_lossy(&output.stderr)))
}

fn spawn(
    binaries: &Path,
    dir: &Path,
    owner: Option<&User>,
    port: u16,
    durability: Durability,
) -> Result<Child, String> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        // Every test has its own pools, and many tests run at once.
        "max_connections=300",
    ];
    if durability == Durability::Fast {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    as_owner(Command::new("/bin/sh"), dir, owner)
        .args(["-c", WATCHDOG, "doorstep-postgres"])
        .arg(binaries.join("postgres"))
        .arg(dir)
        .arg(port.to_string())
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group of its own: Ctrl-C in a terminal signals the whole group, and the watchdog must outlive it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("starting PostgreSQL: {error}"))
}

/// Waits for the line that the postmaster writes into its lock file once it accepts connections.
fn wait_until_ready(dir: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START_WITHIN;
    let lock_file = dir.join("data/postmaster.pid");
    let mut seen = false;
    while Instant::now() < deadline {
        match fs::read_to_string(&lock_file) {
            Ok(lines) if lines.lines().nth(7).is_some_and(|line| line.trim() == "ready") => {
                return Ok(());
            }
            Ok(_) => seen = true,
            // The file existed and is gone: PostgreSQL gave up and removed it.
            Err(_) if seen || log(dir).contains("FATAL") => break,
            Err(_) => {}
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("PostgreSQL did not start: {}", log(dir)))
}

fn log(dir: &Path) -> String {
    let mut text = String::new();
    fs::File::open(dir.join("log")).and_then(|mut file| file.read_to_string(&mut text)).ok();
    text
}

/// `command`, run in `dir` by its owner.
fn as_owner(mut command: Command, dir: &Path, owner: Option<&User>) -> Command {
    command.current_dir(dir).env("HOME", dir).env_remove("PGDATA");
    if let Some(owner) = owner {
        command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
    }
    command
}

/// The user that PostgreSQL runs as: another one in place of root, which it refuses, otherwise the current one.
fn owner() -> Result<Option<User>, String> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(Some)
        .ok_or_else(|| {
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody".into()
        })
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// The directory with `initdb` and `postgres`: on the path, or where packages install them.
fn find_binaries() -> Result<PathBuf, String> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let packaged = [
        "/usr/lib/postgresql",                          // Debian, Ubuntu: VERSION/bin
        "/opt/homebrew/opt",                            // brew: postgresql@VERSION/bin
        "/usr/local/opt",                               // brew on Intel
        "/home/linuxbrew/.linuxbrew/opt",               // brew on Linux
        "/Applications/Postgres.app/Contents/Versions", // VERSION/bin
        "/usr",                                         // Fedora: pgsql-VERSION/bin
    ];
    let packaged = packaged.into_iter().flat_map(|parent| {
        let mut versions: Vec<PathBuf> = fs::read_dir(parent)
            .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
            .unwrap_or_default();
        // Any version will do. The greatest name is the newest as long as versions have two digits.
        versions.sort_unstable();
        versions.into_iter().rev().map(|version| version.join("bin"))
    });
    on_path
        .into_iter()
        .flatten()
        .chain(packaged)
        .find(|dir| ["initdb", "postgres"].iter().all(|binary| dir.join(binary).is_file()))
        .ok_or_else(|| {
            "found neither TEST_DATABASE_URL nor initdb and postgres; install the PostgreSQL server \
             (apt-get install postgresql, brew install postgresql), or run ./tests/run.sh, which does"
                .into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_in_a_url_is_replaced() {
        let cases = [
            (
                "postgres://me:pw@host:5432/one?sslmode=require",
                "postgres://me:pw@host:5432/two?sslmode=require",
            ),
            ("postgres://host/one", "postgres://host/two"),
            ("postgres://host", "postgres://host/two"),
            ("postgres://host?sslmode=disable", "postgres://host/two?sslmode=disable"),
        ];
        for (before, after) in cases {
            assert_eq!(with_database(before, "two"), after);
        }
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own() {
        let postgres = Postgres::shared().await;
        let (one, two) = (postgres.database().await, postgres.database().await);
        assert_ne!(one, two);

        let mut first = PgConnection::connect(&one).await.unwrap();
        first.execute("CREATE TABLE only_here (id INT)").await.unwrap();
        let mut second = PgConnection::connect(&two).await.unwrap();
        assert!(second.execute("SELECT id FROM only_here").await.is_err());
    }
}
