//! The integration tests: the real binary, real sockets, a real PostgreSQL.

mod kill;
mod process;
