//! The certificate with which the server speaks TLS, and its key: read from two files, and replaced while serving.
//!
//! The server ([`http`](crate::http)) only takes the configuration for the next connection from a channel. So a new
//! certificate is for new connections, and the existing ones keep theirs.
//!
//! *Invariant:* the certificate and the key in use always fit each other. What cannot be used changes nothing.
//!
//! | file | contents |
//! | --- | --- |
//! | `certificate` | the certificate in use; the reload |
//! | `files` | reading both files, and what can be wrong with them |
//! | `stamp` | whether a file has changed |
//! | `validity` | until when a certificate is valid |

mod certificate;
mod files;
mod stamp;
#[cfg(test)]
mod tests;
mod validity;

pub use self::certificate::ServerCertificate;
pub use self::files::{TlsError, TlsFault, TlsFile, TlsFiles};
