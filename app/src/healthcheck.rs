//! `doorstep healthcheck`: asks a node whether it is ready, for supervisors that can only run a command.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use doorstep_adapters::probe::{self, ProbedNode};

use crate::config::{Config, Listen};
use crate::output;

/// How long the node may take. It gives its store 2 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fails unless the node is ready.
pub(crate) async fn run(node: ProbedNode) -> anyhow::Result<()> {
    let answer = tokio::time::timeout(PATIENCE, probe::ready(&node)).await;
    answer.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))??;
    output::line("ready")
}

/// The node that this configuration starts.
pub(crate) fn own_node(config: &Config) -> anyhow::Result<ProbedNode> {
    let mut address = match &config.listen {
        Listen::Unix(path) => return Ok(ProbedNode::Socket(path.clone())),
        Listen::Tcp(address) => *address,
    };
    if address.port() == 0 {
        bail!("the port of {address} is picked at the start: name the node with --url");
    }
    if address.ip().is_unspecified() {
        address.set_ip(loopback(address));
    }
    Ok(ProbedNode::Own { address, tls: config.server.tls.files().is_some() })
}

fn loopback(address: SocketAddr) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listen: &str) -> anyhow::Result<ProbedNode> {
        use crate::config::value::SettingValue as _;
        own_node(&Config { listen: Listen::from_text(listen).unwrap(), ..Config::defaults() })
    }

    #[test]
    fn the_address_is_one_that_this_machine_reaches() {
        for (listen, reached) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:3000", "127.0.0.1:3000"),
            ("[::]:3000", "[::1]:3000"),
        ] {
            let address = reached.parse().unwrap();
            assert_eq!(of(listen).unwrap(), ProbedNode::Own { address, tls: false }, "{listen}");
        }
        assert_eq!(of("unix:/run/d").unwrap(), ProbedNode::Socket("/run/d".into()));
        assert!(of("127.0.0.1:0").is_err());
    }
}
