//! The contracts of the machine's clock and ids, of passwords and tokens, and of the sessions that tokens open.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_adapters::jwt::{Algorithm, Expected, Jwts, Key};
use doorstep_adapters::security::{Argon2Passwords, HashingLimits, RandomTokens};
use doorstep_application::sign_ins::{SessionEnd, SignInParts, SignIns};
use doorstep_application::{Authenticator, Credentials};
use doorstep_domain::ports::{Accounts, Clock, Ids, PasswordHasher, Tokens};
use doorstep_domain::{NewUser, Session, Timestamp, TokenHash, User, UserId};
use doorstep_domain::{SystemClock, V7Ids};
use doorstep_tests::contract::memory_bank::MemoryBank;
use doorstep_tests::contract::memory_identity::MemoryPasswords;
use doorstep_tests::contract::{self, AuthenticatorUnderTest};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn the_machines_clock_keeps_the_contract() {
    contract::clock(Arc::new(SystemClock::start())).await;
}

#[test]
fn ids_keep_the_contract() {
    let ids: Arc<dyn Ids> = Arc::new(V7Ids);
    contract::ids(&ids);
}

#[tokio::test]
async fn argon2_keeps_the_contract() {
    let limits = HashingLimits::default();
    contract::passwords(Arc::new(Argon2Passwords::new(limits).unwrap())).await;
}

#[test]
fn tokens_keep_the_contract() {
    let tokens: Arc<dyn Tokens> = Arc::new(RandomTokens);
    contract::tokens(&tokens);
}

/// Sessions in memory. Everything that they are told to end, they forget.
struct Sessions {
    bank: Arc<MemoryBank>,
    sign_ins: SignIns,
}

struct NothingToClose;

impl SessionEnd for NothingToClose {
    fn ended(&self, _: &UserId, _: &TokenHash) {}
}

impl Sessions {
    fn new() -> Self {
        let bank = Arc::new(MemoryBank::default());
        let sign_ins = SignIns::new(SignInParts {
            accounts: bank.clone(),
            sessions: bank.clone(),
            passwords: Arc::new(MemoryPasswords::default()),
            tokens: Arc::new(RandomTokens),
            clock: Arc::new(SystemClock::start()),
            session_end: Arc::new(NothingToClose),
            session_ttl: Duration::from_hours(1),
        });
        Self { bank, sign_ins }
    }
}

#[async_trait]
impl AuthenticatorUnderTest for Sessions {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.sign_ins.clone().into()
    }

    async fn issue(&self) -> (UserId, String) {
        let id = Uuid::now_v7();
        let name = format!("ada{}", &id.simple().to_string()[12..]);
        let username = name.parse().unwrap();
        let user = User { id: id.into(), username, created_at: Timestamp::default() };
        let password = MemoryPasswords::default().hash("a password").await.unwrap();
        let token = RandomTokens.hash(&name);
        let first =
            Session { token, user_id: user.id.clone(), expires_at: SystemClock::start().wall() };
        self.bank.register(&NewUser { user, password }, &first).await.unwrap();
        let shown = Credentials { username: name, password: "a password".to_owned() };
        let signed_in = self.sign_ins.sign_in(shown).await.unwrap();
        (signed_in.user.id, signed_in.token)
    }

    async fn end(&self, token: &str) -> bool {
        let caller = self.sign_ins.authenticate(token).await.unwrap().unwrap();
        self.sign_ins.sign_out(caller).await.unwrap();
        true
    }
}

#[tokio::test]
async fn sessions_keep_the_contract() {
    contract::authenticator(&Sessions::new()).await;
}

const SECRET: &[u8] = b"a secret of thirty-two bytes ok!";

/// The tokens of a backend, which cannot be ended.
struct Signed(Arc<Jwts>);

#[async_trait]
impl AuthenticatorUnderTest for Signed {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.0.clone()
    }

    async fn issue(&self) -> (UserId, String) {
        let user = UserId::from(Uuid::now_v7());
        let claims = json!({"sub": user.to_string(), "exp": 4_000_000_000_u64});
        let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET));
        (user, token.unwrap())
    }
}

#[tokio::test]
async fn signed_tokens_keep_the_contract() {
    let key = Key::new("a key", Algorithm::Hs256, SECRET).unwrap();
    let expected = Expected { issuer: None, audience: None, leeway: Duration::ZERO };
    let jwts = Jwts::new(vec![key], None, expected, Arc::new(SystemClock::start()));
    contract::authenticator(&Signed(Arc::new(jwts))).await;
}
