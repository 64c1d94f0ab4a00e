//! The technologies behind the ports of `doorstep-domain`, each in its own module behind a cargo feature.

#[cfg(feature = "bus")]
pub mod bus;
