//! Service keys: several at once, and revoked without a restart.

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
    assert_eq!((asks(&one).await, asks(&two).await), (200, 401), "no reload yet");
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
        "a typing error locks nobody out"
    );
}

#[tokio::test]
async fn an_accident_with_the_file_revokes_nothing_and_a_file_without_keys_revokes_all() {
    let Door { call, mut server, backend } = Door::open().await;
    let file = call.dir().join("doorstep.toml");
    let user = User::with_token(server.url(), "ada", &token("ada"));
    let good = std::fs::read_to_string(&file).unwrap();
    let asks =
        async || (backend.get("/v1/users/ada/presence").await.0, user.get("/v1/ws").await.0 != 401);
    assert_eq!(asks().await, (200, true));
    // Empty, with only a comment, cut off in the middle, deleted, and with one of two keys invalid.
    let bad_key = good.replace("[jwt.keys.shop]", "[jwt.keys.shop]\nalgorithm = \"RS256\"");
    let other = Key::new("blog").await;
    let bad_key = bad_key.replace("[keys]", &format!("[keys]\n{}", other.line));
    for (times, accident) in
        (1..).zip([Some(""), Some("# soon\n"), Some(&good[..good.len() - 1]), None, Some(&bad_key)])
    {
        match accident {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        server.hang_up();
        server.logged("nothing was reloaded", times).await;
        assert_eq!(asks().await, (200, true), "{accident:?}");
    }
    let blog = Backend::new(server.url(), &other.key);
    assert_eq!(blog.get("/v1/users/ada/presence").await.0, 401, "all keys are loaded, or none");
    // A valid file without keys is taken as intended.
    std::fs::write(&file, BARE).unwrap();
    server.hang_up();
    server.logged("reloaded the keys", 1).await;
    assert_eq!(asks().await, (401, false));
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
