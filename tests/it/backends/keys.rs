//! Service keys: several, and taken away without a restart.

use super::{BARE, Backend, Door, Key, token};
use doorstep_tests::client::User;
use doorstep_tests::server::Doorstep;

#[tokio::test]
async fn a_key_is_revoked_by_a_reload_and_another_made_good() {
    let (one, two) = (Key::new("shop").await, Key::new("blog").await);
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
    let write = |keys: &str| {
        std::fs::write(call.dir().join("doorstep.toml"), format!("{BARE}{keys}")).unwrap();
    };
    write(&format!("[keys]\n{}", one.line));
    let mut server = call.start().await;
    let asks = async |key: &Key| {
        Backend::new(server.url(), &key.key).get("/v1/users/ada/presence").await.0
    };
    assert_eq!((asks(&one).await, asks(&two).await), (200, 401));

    write(&format!("[keys]\n{}", two.line));
    assert_eq!((asks(&one).await, asks(&two).await), (200, 401), "nobody asked for it yet");
    server.hang_up();
    server.logged("reloaded the keys", 1).await;
    let asks = async |key: &Key| {
        Backend::new(server.url(), &key.key).get("/v1/users/ada/presence").await.0
    };
    assert_eq!((asks(&one).await, asks(&two).await), (401, 200));

    write("[keys]\nblog = \"sha256:nonsense\"");
    server.hang_up();
    server.logged("nothing was reloaded", 1).await;
    assert_eq!(
        Backend::new(server.url(), &two.key).get("/v1/users/ada/presence").await.0,
        200,
        "a slip of the pen locks nobody out"
    );
}

#[tokio::test]
async fn a_token_s_key_is_taken_away_by_a_reload_too() {
    let Door { call, mut server, backend } = Door::open().await;
    let user = User::with_token(server.url(), "ada", &token("ada"));
    drop(user.connect("doorstep.v1").await);
    let file = std::fs::read_to_string(call.dir().join("doorstep.toml")).unwrap();
    let (without, _) = file.split_once("[jwt.keys.shop]").unwrap();
    std::fs::write(call.dir().join("doorstep.toml"), without).unwrap();
    server.hang_up();
    server.logged("reloaded the keys", 1).await;
    assert_eq!(user.get("/v1/ws").await.0, 401);
    assert_eq!(backend.get("/v1/users/ada/presence").await.0, 200);
}

#[tokio::test]
async fn names_that_no_environment_could_spell_are_refused() {
    for name in ["", "Shop", "my-shop", "a__b", &"x".repeat(65)] {
        assert_eq!(Doorstep::new(&["key", "new", name]).run().await.code, Some(2), "{name:?}");
    }
}
