//! The integration tests: one binary, one module per subject.

#![allow(clippy::unwrap_used, reason = "what cannot be had in a test is that test's failure")]

mod backends;
mod browser;
mod claims;
mod cli;
mod cluster;
mod crashes;
mod dependencies;
mod doors;
mod guides;
mod handover;
mod heads;
mod hostile;
mod http;
mod https;
mod identity;
mod inbox;
mod interface;
mod javascript;
mod kill;
mod layers;
mod listening;
mod messages;
mod nats;
mod node;
mod operate;
mod origins;
mod outbox;
mod pages;
mod process;
mod promises;
mod proxies;
mod reference;
mod schemathesis;
mod sign_ins;
mod simulation;
mod sse;
mod storage;
mod stores;
mod tls;
mod trading;
mod websocket;
