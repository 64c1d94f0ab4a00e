//! The composition root: which adapter stands behind which port, and who hears of what. Read it from top
//! to bottom and you have seen the whole service.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use doorstep_adapters::bus::Bus;
use doorstep_adapters::http::{self, AddressLimit, Rate, ServerSettings};
use doorstep_adapters::security::{Argon2Passwords, HashingLimits, RandomTokens};
use doorstep_adapters::sql;
use doorstep_adapters::system::{SystemClock, V7Ids};
use doorstep_application::accounts::AccountViews;
use doorstep_application::delivery::{self, Delivery};
use doorstep_application::notifications::Notifications;
use doorstep_application::registration::{Registration, RegistrationParts};
use doorstep_application::rewards::Rewards;
use doorstep_application::sign_ins::{SignInParts, SignIns};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::announce::Announce;
use crate::config::Config;
use crate::page;
