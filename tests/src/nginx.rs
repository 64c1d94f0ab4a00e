//! A real nginx in front of a server, with the configuration from the documentation.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The page that contains the configuration.
const DOCS: &str = include_str!("../../docs/proxies.md");

/// A running nginx; killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl Nginx {
    /// Starts it in front of the server that listens at `127.0.0.1:PORT` or `unix:PATH`. The configuration differs
    /// from the documentation only in the address and in that there is no TLS.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub async fn before(upstream: &str) -> Self {
        let (_, rest) = DOCS.split_once("```nginx\n").expect("the configuration of nginx");
        let (documented, _) = rest.split_once("```").expect("its end");
        // Another process could take the port before nginx does, which is unlikely.
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let tls = |line: &&str| !line.trim_start().starts_with("ssl_");
        let site: Vec<_> = documented.lines().filter(tls).collect();
        let site = site.join("\n");
        let replaced = |text: &str, from: &str, to: &str| {
            assert!(text.contains(from), "the documentation has {from}");
            text.replace(from, to)
        };
        let site = replaced(&site, "listen 443 ssl;", &format!("listen {address};"));
        let site = replaced(&site, "server 127.0.0.1:3000;", &format!("server {upstream};"));

        let dir = tempfile::tempdir().expect("a temporary folder");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};"))
            .join("\n");
        let file = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 512; }}\nhttp {{ access_log off;\n{paths}\n{site}\n}}\n"
        );
        std::fs::write(dir.path().join("nginx.conf"), file).expect("its configuration");
        let child = Command::new(binary())
            .arg("-p")
            .arg(dir.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx starts: tests/run.sh installs it");
        let mut nginx = Self { address, child, _dir: dir };
        nginx.ready().await;
        nginx
    }

    /// Waits until it listens.
    async fn ready(&mut self) {
        for _ in 0..600 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none(), "nginx ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nginx does not listen");
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Debian installs it in a folder that is not on every user's path.
fn binary() -> &'static str {
    let installed = "/usr/sbin/nginx";
    if Path::new(installed).exists() { installed } else { "nginx" }
}
