//! Whom this machine trusts to certify other servers.

use rustls::RootCertStore;

/// The certificate authorities of this machine; `None` if it has none.
pub(crate) fn of_this_machine() -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Some certificates of a machine may be unreadable; it is enough that others are not.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    (!roots.is_empty()).then_some(roots)
}
