//! `PgBouncer` in front of a test's PostgreSQL.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

/// How long it may take to start.
const START_WITHIN: Duration = Duration::from_mins(1);

/// A running pooler; killed when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one in front of this database, with these lines in its configuration.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub fn before(database: &str, settings: &str) -> Self {
        let server = PgConnectOptions::from_str(database).expect("a URL of PostgreSQL");
        let name = server.get_database().expect("a database");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host={} port={} user={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
            server.get_host(),
            server.get_port(),
            server.get_username(),
        );
        std::fs::write(&file, text).expect("a file in a temporary folder");
        // Debian installs it in a folder that is not on every user's path.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("pgbouncer");
        command.env("PATH", path).arg(&file).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // PgBouncer refuses to run as root.
        if Uid::effective().is_root() {
            let user = ["postgres", "nobody"].into_iter().find_map(|n| User::from_name(n).ok()?);
            let user = user.expect("a user postgres or nobody");
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(folder.path(), Some(uid), Some(gid)).expect("the folder is given away");
            command.uid(uid).gid(gid);
        }
        let process = command.spawn().expect("pgbouncer is installed: ./tests/run.sh does that");
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(started.elapsed() < START_WITHIN, "pgbouncer does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let url = format!("postgres://{}@127.0.0.1:{port}/{name}", server.get_username());
        Self { process, url, _folder: folder }
    }

    /// The URL of the database through the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
