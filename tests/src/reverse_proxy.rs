//! A real reverse proxy in front of a server, with the configuration from the documentation.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The page that contains the configurations.
const DOCS: &str = include_str!("../../docs/proxies.md");

/// The proxies whose configuration is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// `HAProxy`.
    Haproxy,
}

impl ProxyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Caddy, Self::Haproxy];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
        }
    }

    /// How its configuration names the server that listens at `127.0.0.1:PORT` or `unix:PATH`.
    fn upstream(self, listen: &str) -> String {
        match (self, listen.strip_prefix("unix:")) {
            (Self::Nginx, _) | (_, None) => listen.to_owned(),
            (Self::Caddy, Some(path)) => format!("unix/{path}"),
            (Self::Haproxy, Some(path)) => format!("unix@{path}"),
        }
    }

    /// The documented configuration, for another address and without TLS.
    fn configuration(self, address: SocketAddr, upstream: &str) -> String {
        let language = match self {
            Self::Nginx | Self::Haproxy => self.name(),
            Self::Caddy => "caddyfile",
        };
        let (_, rest) = DOCS.split_once(&format!("```{language}\n")).expect("the configuration");
        let (site, _) = rest.split_once("```").expect("its end");
        let replaced = |text: &str, from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "the documentation has {from} once");
            text.replace(from, to)
        };
        let site = replaced(site, "127.0.0.1:3000", &self.upstream(upstream));
        match self {
            Self::Nginx => {
                let site = replaced(&site, "listen 443 ssl;", &format!("listen {address};"));
                let site = site.lines().filter(|line| !line.trim_start().starts_with("ssl_"));
                let site: Vec<_> = site.collect();
                in_a_folder(&format!(
                    "events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{}\n}}\n",
                    site.join("\n")
                ))
            }
            Self::Caddy => {
                let here = format!("http://{address} {{\nbind {}", address.ip());
                format!("{{\nadmin off\n}}\n{}", replaced(&site, "push.example.com {", &here))
            }
            Self::Haproxy => {
                let tls = "bind :443 ssl crt /etc/haproxy/push.example.com.pem";
                replaced(&site, tls, &format!("bind {address}"))
            }
        }
    }

    fn command(self, dir: &Path) -> Command {
        let mut command = Command::new(self.binary());
        let file = dir.join("configuration");
        match self {
            Self::Nginx => command.arg("-p").arg(dir).arg("-c").arg(file).args(["-e", "stderr"]),
            Self::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                // It keeps files in the folders of its user.
                command.env("HOME", dir).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME")
            }
            // In the foreground, and without any warning about the configuration.
            Self::Haproxy => command.args(["-db", "-dW", "-f"]).arg(file),
        };
        command
    }

    /// Debian installs some of them in a folder that is not on every user's path.
    fn binary(self) -> String {
        let installed = format!("/usr/sbin/{}", self.name());
        if Path::new(&installed).exists() { installed } else { self.name().to_owned() }
    }
}

/// A complete configuration of nginx, for a process in the foreground that writes only to its own folder.
fn in_a_folder(file: &str) -> String {
    let (before, http) = file.split_once("http {").expect("the block `http`");
    let mut own =
        String::from("daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n");
    writeln!(own, "{before}http {{").expect("a string takes all");
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(own, "{name}_temp_path {name};").expect("a string takes all");
    }
    own + http
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct ReverseProxy {
    address: SocketAddr,
    child: Child,
    _dir: TempDir,
}

impl ReverseProxy {
    /// Starts it in front of the server that listens at `127.0.0.1:PORT` or `unix:PATH`. The configuration differs
    /// from the documentation only in the addresses and in that there is no TLS.
    ///
    /// # Panics
    /// When the proxy is not installed or does not start.
    pub async fn start(kind: ProxyKind, upstream: &str) -> Self {
        Self::with(kind, |address| kind.configuration(address, upstream)).await
    }

    /// Starts nginx with this configuration, made for the address at which it is to listen.
    ///
    /// # Panics
    /// When nginx is not installed or does not start.
    pub async fn nginx(configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        Self::with(ProxyKind::Nginx, |address| in_a_folder(&configuration(address))).await
    }

    async fn with(kind: ProxyKind, configuration: impl FnOnce(SocketAddr) -> String) -> Self {
        // Another process could take the port before the proxy does, which is unlikely.
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("configuration"), configuration(address))
            .expect("its configuration");
        let child = kind
            .command(dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the proxy starts: tests/run.sh installs it");
        let mut proxy = Self { address, child, _dir: dir };
        proxy.ready(kind).await;
        proxy
    }

    /// Waits until it listens.
    async fn ready(&mut self, kind: ProxyKind) {
        for _ in 0..600 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none(), "{kind:?} ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{kind:?} does not listen");
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
