//! Several nodes that share one log: what its entries say, and how they are written.

mod entry;
mod wire;

pub use self::entry::{ClusterEntry, NodeId, Unreadable};
