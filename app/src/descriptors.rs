//! How many files and sockets this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// What a node has open besides connections: the database, the log, the webhook, and so on.
const OTHERS: u64 = 256;

/// Raises the soft limit, which is 1,024 on many systems, to the hard limit, as servers do that do not use `select`.
/// Warns if that is too little for the connections that the configuration allows: further ones would wait unanswered.
pub(crate) fn raise_the_limit(config: &Config) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let now = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    if let Some(wanted) = too_few(now, config.limits.http_connections.get()) {
        tracing::warn!(
            "this process may have {now} files and sockets open, and limits.http_connections needs {wanted}: raise the \
             limit (LimitNOFILE in systemd, ulimit -Hn in a shell), or set limits.http_connections lower"
        );
    }
}

/// How many would be needed, if there are fewer.
fn too_few(there: u64, connections: usize) -> Option<u64> {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    (there < wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_need_descriptors_and_so_does_the_rest() {
        assert_eq!(too_few(10_256, 10_000), None);
        assert_eq!(too_few(10_255, 10_000), Some(10_256));
        assert_eq!(too_few(1024, usize::MAX), Some(u64::MAX));
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard / 2, hard).unwrap();
        raise_the_limit(&Config::defaults());
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
